"""Candidates in the order of their distance from a model."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from ..measure import Measure
from ..statistics.bootstrap import t_interval
from .by_candidate import CANDIDATE, OTHER_CANDIDATE
from .numbers import Number, number, rounded

NOT_FINITE = "The model's predictions on these tasks are not finite, so mesascope compared nothing."
CONSTANT = "The model's predictions do not vary between these tasks, so no candidate explains them."


@dataclass(frozen=True)
class Order:
    """Read off the measures of one checkpoint, or of several seeds at the same step.

    names:     candidates by their mean prediction difference from the model, least first; none that diverges
    left_out:  candidates that fewer seeds were compared with, or diverge in some: their means are over other models
    """

    measures: Mapping[str, Measure]
    names: tuple[str, ...]
    left_out: tuple[str, ...] = ()

    @property
    def closest(self) -> str:
        return self.names[0]

    @property
    def next(self) -> str:
        return self.names[1]

    @property
    def gap(self) -> Number:
        """How much closer to the model's predictions the closest candidate is than the next: paired by tasks, or by
        seeds, which need not have been compared with all the same candidates."""
        return self.gap_between(self.closest, self.next)

    def gap_between(self, near: str, far: str) -> Number:
        """How much closer to the model's predictions one candidate is than another."""
        of_near, of_far = (self.of("prediction_difference", name).points for name in (near, far))
        if of_near is not None and of_far is not None:
            gaps = (of_far - of_near)[np.isfinite(of_far - of_near)]
            return Number(float(gaps.mean()), *(float(end) for end in t_interval(gaps)))
        return number(self.measures["closeness_margins"].sel(**{CANDIDATE: near, OTHER_CANDIDATE: far}))

    @property
    def separated(self) -> bool:
        return self.gap.low > 0  # not where there is no interval

    @property
    def constant(self) -> bool:
        """Whether the model gives the same prediction for several tasks."""
        return self.measures["loss"].n > 1 and not self.measures["unexplained_share"].has_number

    def of(self, metric: str, name: str) -> Measure:
        """A metric between the model and one candidate."""
        return self.measures[metric].sel(**{CANDIDATE: name})

    def unexplained(self, name: str) -> Number:
        """The share of the model's prediction that one candidate leaves unexplained."""
        return number(self.of("unexplained_share", name))

    def difference(self, name: str) -> str:
        return rounded(self.of("prediction_difference", name).estimate)


Kind = TypeVar("Kind", bound=Order)


def in_order(measures: Mapping[str, Measure], kind: type[Kind]) -> Kind | None:
    """None where nothing can be ranked: the model's predictions are not finite."""
    differences = measures["prediction_difference"]
    parts = {name: differences.sel(**{CANDIDATE: name}) for name in differences.labels(CANDIDATE)}
    compared = {name: _compared(part) for name, part in parts.items()}
    most = max(compared.values())
    if most == 0:
        return None
    names = sorted((name for name in parts if compared[name] == most), key=lambda name: parts[name].estimate)
    return kind(measures, tuple(names), tuple(name for name in parts if 0 < compared[name] < most))


def _compared(difference: Measure) -> int:
    """In how many seeds a candidate has a distance from the model; 1 or 0 for one checkpoint."""
    return int(np.isfinite(difference.values if difference.points is None else difference.points).sum())
