"""The candidates, the closest to the model first."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from ..algorithms.named import RIDGE, gradient_descent
from ..comparing.by_candidate import CANDIDATE, OTHER_CANDIDATE
from ..comparing.numbers import Number, number, rounded
from ..measure import Measure
from ..statistics.bootstrap import t_interval
from .names import FLOOR, GDPP, GDPP_LAYERS, SEARCHED, candidates, descents, same_steps


@dataclass(frozen=True)
class Ranking:
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
        """The closest that is another hypothesis: not the same descent once constructed and once as an algorithm."""
        return next(name for name in self.names[1:] if not self.same_hypothesis(name))

    @property
    def is_floor(self) -> bool:
        """Whether the closest candidate does not look at the query."""
        return self.closest in FLOOR

    @property
    def gap(self) -> Number:
        """How much closer to the model's predictions the closest candidate is than the next: paired by tasks, or by
        seeds, which need not have been compared with all the same candidates."""
        near, far = (self.of("prediction_difference", name).points for name in (self.closest, self.next))
        if near is not None and far is not None:
            gaps = (far - near)[np.isfinite(far - near)]
            return Number(float(gaps.mean()), *(float(end) for end in t_interval(gaps)))
        return number(self.measures["closeness_margins"].sel(**{CANDIDATE: self.closest, OTHER_CANDIDATE: self.next}))

    @property
    def separated(self) -> bool:
        return self.gap.low > 0  # not where there is no interval

    @property
    def constant(self) -> bool:
        """Whether the model gives the same prediction for several tasks."""
        return self.measures["loss"].n > 1 and not self.measures["unexplained_share"].has_number

    def same_hypothesis(self, name: str) -> bool:
        """Whether a candidate says of the model what the closest one says."""
        counts = numbers_of_steps(self.measures)
        return name == self.closest or (len(counts) == 1 and {name, self.closest} == same_steps(counts[0]))

    @property
    def at_edge(self) -> bool:
        """Whether the closest candidate takes the most steps of all that were tried."""
        steps = self.measures["constructed_steps"]
        if self.closest == GDPP.name:
            return steps.estimate == GDPP_LAYERS and steps.message == SEARCHED
        most = max(descents(self.measures["prediction_difference"].labels(CANDIDATE)))
        return self.closest == gradient_descent(most).name

    def of(self, metric: str, name: str) -> Measure:
        """A metric between the model and one candidate."""
        return self.measures[metric].sel(**{CANDIDATE: name})

    def unexplained(self, name: str) -> Number:
        """The share of the model's prediction that one candidate leaves unexplained."""
        return number(self.of("unexplained_share", name))

    def setting(self, name: str) -> Measure | None:
        """The learning rate or penalty of one candidate, if it has one."""
        if name == RIDGE.name:
            return self.measures["ridge_penalty"]
        rates = self.measures["learning_rate"]
        return rates.sel(**{CANDIDATE: name}) if name in rates.labels(CANDIDATE) else None

    def title(self, name: str) -> str:
        return candidates([name])[name].title

    def difference(self, name: str) -> str:
        return rounded(self.of("prediction_difference", name).estimate)


def ranking(measures: Mapping[str, Measure]) -> Ranking | None:
    """None where nothing can be ranked: the model's predictions are not finite."""
    differences = measures["prediction_difference"]
    parts = {name: differences.sel(**{CANDIDATE: name}) for name in differences.labels(CANDIDATE)}
    compared = {name: _compared(part) for name, part in parts.items()}
    most = max(compared.values())
    if most == 0:
        return None
    names = sorted((name for name in parts if compared[name] == most), key=lambda name: parts[name].estimate)
    return Ranking(measures, tuple(names), tuple(name for name in parts if 0 < compared[name] < most))


def _compared(difference: Measure) -> int:
    """In how many seeds a candidate has a distance from the model; 1 or 0 for one checkpoint."""
    return int(np.isfinite(difference.values if difference.points is None else difference.points).sum())


def numbers_of_steps(measures: Mapping[str, Measure]) -> tuple[int, ...]:
    """Those that constructed models take: one number, unless it was searched and differs between seeds."""
    steps = measures["constructed_steps"]
    return tuple(int(count) for count in np.unique(steps.values if steps.points is None else steps.points))
