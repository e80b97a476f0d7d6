"""The candidates for softmax regression, the closest to the model first."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..comparing.by_candidate import MODEL
from ..comparing.numbers import Number, number, rounded
from ..comparing.ranking import Order, in_order
from ..comparing.verdicts import verdict
from ..measure import Measure
from .names import CANDIDATES, COPY, FLOOR, GD, SMOOTHER


class Ranking(Order):
    """With the names that sentences use.

    A gradient step and a copy of b are limits of the smoother, whose two settings are fitted to the model: it is never
    farther than they are. So where one of them agrees with the model, that one is called, and the smoother beside it.
    """

    @property
    def closest(self) -> str:
        return self.limit_of_smoother or self.names[0]

    @property
    def next(self) -> str:
        return next(name for name in self.names if name != self.closest)

    @property
    def limit_of_smoother(self) -> str | None:
        """The limit of the smoother that agrees with the model, where the smoother is closest."""
        if self.names[0] != SMOOTHER.name:
            return None
        limits = (name for name in self.names if name in (GD.name, COPY.name))
        return next((name for name in limits if verdict(self.unexplained(name)) == "agrees"), None)

    @property
    def is_floor(self) -> bool:
        """Whether the closest candidate does not look at A."""
        return self.closest in FLOOR

    def title(self, name: str) -> str:
        """The smoother is told by what it attends to; seeds may differ in that."""
        title = CANDIDATES[name].title
        if name != SMOOTHER.name:
            return title
        signs = self.smoother_signs
        if len(signs) > 1:
            return f"{title} over similar or unlike tokens (as the seed has it)"
        return f"{title} over {'similar' if signs == {1} else 'unlike'} tokens"

    @property
    def smoother_signs(self) -> set[int]:
        """1 where similar tokens are attended to, -1 where unlike ones are."""
        sharpness = self.measures["smoother_sharpness"]
        values = sharpness.values if sharpness.points is None else sharpness.points
        return {int(sign) for sign in np.unique(np.sign(values[np.isfinite(values)]))}

    @property
    def loss_over_gd(self) -> Number:
        return number(self.measures["loss_over_gd"])

    def loss(self, name: str = MODEL) -> str:
        return rounded(self.of("loss", name).estimate)


def ranking(measures: Mapping[str, Measure]) -> Ranking | None:
    """None where nothing can be ranked: the model's predictions are not finite."""
    return in_order(measures, Ranking)
