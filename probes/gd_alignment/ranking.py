"""The candidates, the closest to the model first."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..algorithms.named import RIDGE, gradient_descent
from ..comparing.by_candidate import CANDIDATE
from ..comparing.ranking import Order, in_order
from ..measure import Measure
from .names import FLOOR, GDPP, GDPP_LAYERS, SEARCHED, candidates, descents, same_steps


class Ranking(Order):
    """Of the candidates for linear regression."""

    @property
    def next(self) -> str:
        """The closest that is another hypothesis: not the same descent once constructed and once as an algorithm."""
        return next(name for name in self.names[1:] if not self.same_hypothesis(name))

    @property
    def is_floor(self) -> bool:
        """Whether the closest candidate does not look at the query."""
        return self.closest in FLOOR

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

    def setting(self, name: str) -> Measure | None:
        """The learning rate or penalty of one candidate, if it has one."""
        if name == RIDGE.name:
            return self.measures["ridge_penalty"]
        rates = self.measures["learning_rate"]
        return rates.sel(**{CANDIDATE: name}) if name in rates.labels(CANDIDATE) else None

    def title(self, name: str) -> str:
        return candidates([name])[name].title


def ranking(measures: Mapping[str, Measure]) -> Ranking | None:
    """None where nothing can be ranked: the model's predictions are not finite."""
    return in_order(measures, Ranking)


def numbers_of_steps(measures: Mapping[str, Measure]) -> tuple[int, ...]:
    """Those that constructed models take: one number, unless it was searched and differs between seeds."""
    steps = measures["constructed_steps"]
    return tuple(int(count) for count in np.unique(steps.values if steps.points is None else steps.points))
