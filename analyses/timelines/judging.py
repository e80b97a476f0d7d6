"""What the curves of a timeline show: onsets with their brackets, which of two comes first, and changes of course."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from scipy.stats import false_discovery_control

from ...probes.followed import Course
from ...probes.statistics.change_points import ChangePoint, change_points
from ...probes.statistics.medians import Ends
from ...probes.statistics.onset import Onset, Order, OverSeeds, clears, onset_of, order_of_onsets, over_seeds
from .series import Series


@dataclass(frozen=True)
class Judged:
    """One series and what it shows.

    onsets:   of each training; None: no step has a number
    over:     all trainings together; None: there is no onset
    changes:  of each training; None: too few steps
    """

    series: Series
    onsets: Mapping[str, Onset | None]
    over: OverSeeds | None
    changes: Mapping[str, list[ChangePoint] | None]

    @property
    def known(self) -> dict[str, Onset]:
        return {training: onset for training, onset in self.onsets.items() if onset is not None}


@dataclass(frozen=True)
class Pair:
    """Two series, and the order of their onsets in the trainings that have both.

    left_out:    trainings that have only one of the two
    p_adjusted:  the false discovery rate over all pairs of the timeline; NaN where there is no p
    """

    first: Series
    second: Series
    order: Order
    left_out: tuple[str, ...]
    p_adjusted: float

    @property
    def in_order(self) -> tuple[Series, Series, Ends]:
        """The series that begins first in more trainings, the other, and the median lead of the first."""
        low, high = self.order.lead
        if len(self.order.second) > len(self.order.first):
            return self.second, self.first, Ends(-high, -low)
        return self.first, self.second, self.order.lead

    @property
    def told(self) -> bool:
        """Whether the order is known in any training."""
        return bool(self.order.first or self.order.second)


@dataclass(frozen=True)
class Timeline:
    """All that one architecture's checkpoints show over time.

    label:      the names of its models
    noun:       what several trainings are: "seed", or "training" where they have no seeds
    trainings:  their names
    """

    label: str
    noun: str
    trainings: tuple[str, ...]
    judged: tuple[Judged, ...]
    pairs: tuple[Pair, ...]

    @property
    def steps(self) -> tuple[int, ...]:
        """Every step that was asked for, of any probe and training."""
        return tuple(sorted({step for one in self.judged for c in one.series.courses.values() for step in c.steps}))


def timeline(label: str, noun: str, series: Sequence[Series], seed: int = 0) -> Timeline:
    """Onsets, their order, and changes of course.

    seed:  of what the null of the change points draws
    """
    judged = tuple(_judged(one, seed) for one in series)
    trainings = tuple(dict.fromkeys(name for one in series for name in one.courses))
    return Timeline(label, noun, trainings, judged, _adjusted(_pairs(judged)))


def onset(course: Course, above: bool) -> Onset | None:
    """Of one training. A copy of another step says nothing about its own."""
    cleared = clears(course.low, course.high, course.null, above)
    return onset_of(np.array(course.steps), np.where(course.copied, np.nan, cleared))


def _judged(series: Series, seed: int) -> Judged:
    onsets = {name: onset(course, series.followed.above) for name, course in series.courses.items()}
    known = [found for found in onsets.values() if found is not None]
    changes = {name: _changes(course, seed) for name, course in series.courses.items()}
    return Judged(series, onsets, over_seeds(known) if known else None, changes)


def _changes(course: Course, seed: int) -> list[ChangePoint] | None:
    return change_points(np.array(course.steps), np.where(course.measured, course.estimate, np.nan), seed)


def _pairs(judged: Sequence[Judged]) -> list[dict[str, Any]]:
    """Every two series that some training has both of, unless neither begins anywhere."""
    found = []
    for one, other in combinations(judged, 2):
        first, second = one.known, other.known
        both = {name: (first[name], second[name]) for name in first if name in second}
        if any(onset.by is not None for pair in both.values() for onset in pair):
            left_out = tuple(name for name in {**first, **second} if name not in both)
            pair = {"first": one.series, "second": other.series, "order": order_of_onsets(both), "left_out": left_out}
            found.append(pair)
    return found


def _adjusted(pairs: Sequence[dict[str, Any]]) -> tuple[Pair, ...]:
    p = np.array([pair["order"].p for pair in pairs], dtype=np.float64)
    adjusted, known = np.full(len(p), np.nan), np.isfinite(p)
    if known.any():
        adjusted[known] = false_discovery_control(p[known])
    return tuple(Pair(**pair, p_adjusted=float(q)) for pair, q in zip(pairs, adjusted, strict=True))
