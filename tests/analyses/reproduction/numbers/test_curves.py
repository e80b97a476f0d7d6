"""Curves of reports: over steps, or of the one step that was measured."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mesascope.analyses.reports.record import Record
from mesascope.analyses.reproduction.numbers.curves import ALIGNMENTS, drawn, over_steps
from mesascope.analyses.reproduction.numbers.reading import Lacking
from mesascope.analyses.reproduction.panels import LOSS, RANGES
from scipy import stats

from .made_up import LAST, STEPS, Measured, by, family


def losses(**more: Any) -> Record:
    def of(seed: int, step: int) -> Measured:
        return {"loss": by("candidate", model=0.2 + 0.1 * seed + 0.001 * step, gd=0.2)}

    return family(of, **more)


def of_steps(report: Record, *steps: int | None) -> Record:
    return replace(report, sources=tuple({"step": step} for step in steps))


def test_panels_know_which_losses_and_alignments_there_are() -> None:
    assert {LOSS, *(unit for _, unit in ALIGNMENTS.values())} <= set(RANGES)


def test_a_curve_has_a_place_for_each_step() -> None:
    found = over_steps(losses(), "loss", "trained", "model", candidate="model")()
    assert found.x == STEPS
    np.testing.assert_allclose(found.y, [0.3, 0.4, 0.5])


def test_of_one_step_it_is_a_point_at_that_step_with_its_interval() -> None:
    report = of_steps(losses(steps=(LAST,)), LAST, LAST, LAST)
    found = over_steps(report, "loss", "trained", "model", candidate="model")()
    assert found.x == (LAST,)
    np.testing.assert_allclose(found.y, [0.5])
    assert found.low is not None
    assert found.high is not None
    half = float(stats.t.interval(0.95, 2)[1]) * 0.1 / 3**0.5
    np.testing.assert_allclose([*found.low, *found.high], [0.5 - half, 0.5 + half])


def test_of_one_checkpoint_the_point_has_no_interval() -> None:
    """Its interval over tasks is none over trainings."""
    found = over_steps(of_steps(losses(seeds=(0,), steps=(LAST,)), LAST), "loss", "trained", "model", candidate="gd")()
    assert (found.x, found.y, found.low, found.high) == ((LAST,), (0.2,), None, None)


@pytest.mark.parametrize("steps", [(), (None,), (100, 200)])
def test_without_a_step_there_is_no_point(steps: tuple[int | None, ...]) -> None:
    attempt = over_steps(of_steps(losses(steps=(LAST,)), *steps), "loss", "trained", "model", candidate="model")
    with pytest.raises(Lacking, match="one step alone, which no source names"):
        attempt()
    assert drawn(attempt) == ()
