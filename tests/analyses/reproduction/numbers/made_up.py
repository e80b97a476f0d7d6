"""Reports with numbers that are known, put together over seeds and steps as real ones are."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from mesascope.analyses.reports.record import Record
from mesascope.analyses.reproduction.figure_numbers import FigureNumbers
from mesascope.analyses.reproduction.judging import judge
from mesascope.analyses.reproduction.numbers import numbers_of
from mesascope.analyses.reproduction.von_oswald_claims import CLAIMS
from mesascope.analyses.runs.aggregation import along_steps, mean_over
from mesascope.probes.measure import Claim, Measure, along
from scipy import stats

SEEDS, STEPS = (0, 1, 2), (0, 100, 200)
LAST = STEPS[-1]
Measured = dict[str, Measure]


def number(values: Any, axes: tuple[str, ...] = (), coords: Mapping[str, Any] | None = None, **more: Any) -> Measure:
    """A measure of one checkpoint, with an interval over tasks."""
    held = np.asarray(values, dtype=np.float64)
    fields = {"no_nulls": "made up", "message": "overflow" if np.isnan(held).any() else "", **more}
    return Measure(
        held, "unit", (np.asarray(held - 0.5), np.asarray(held + 0.5)), "task", 100, axes, coords or {}, **fields
    )


def by(axis: str, **parts: Any) -> Measure:
    """Parts along an axis, such as candidates; plain numbers or measures."""
    return along(axis, {name: part if isinstance(part, Measure) else number(part) for name, part in parts.items()})


def family(
    of: Callable[[int, int], Measured], seeds: Sequence[int] = SEEDS, steps: Sequence[int] = STEPS, **arrays: Any
) -> Record:
    """The report over the checkpoints of all seeds and steps, of which `of(seed, step)` says what was measured."""
    by_step = [[of(seed, step) for seed in seeds] for step in steps]

    def over_seeds(found: Sequence[Measured], name: str) -> Measure:
        return found[0][name] if len(found) == len(steps) == 1 else mean_over("seed", [one[name] for one in found])

    measures = {}
    for name in by_step[0][0]:
        over = [over_seeds(found, name) for found in by_step]
        measures[name] = over[0] if len(steps) == 1 else along_steps(tuple(steps), over)
    return report(measures, **arrays)


def report(measures: Measured, **arrays: Any) -> Record:
    claim = Claim("", "", "", (), "", ())
    return Record("made-up", "1", {}, (), {}, {}, claim, measures, arrays, seed=0, key="made-up")


def outcome(figure: int, **reports: Record) -> tuple[str, FigureNumbers]:
    """The verdict of a figure; `lsa_1layer` for the need lsa-1layer."""
    return judged(figure, {key.replace("_", "-"): held for key, held in reports.items()})


def judged(figure: int, reports: Mapping[str, Record]) -> tuple[str, FigureNumbers]:
    found = numbers_of(figure, reports)
    claim = CLAIMS[figure - 1]
    assert {*found.statistics, *found.lacking} >= {one.statistic for one in claim.conditions}
    return judge(claim, found.statistics, found.lacking).outcome, found


def expect(found: FigureNumbers, name: str, values: Sequence[float]) -> None:
    """The statistic is the mean over seeds with the t-interval of the textbook."""
    held, n = found.statistics[name], len(values)
    mean = sum(values) / n
    error = (sum((value - mean) ** 2 for value in values) / (n - 1) / n) ** 0.5
    half = float(stats.t.interval(0.95, n - 1, scale=1)[1]) * error
    np.testing.assert_allclose([held.value, held.low, held.high], [mean, mean - half, mean + half], rtol=1e-9)
    assert held.n_seeds == n
