"""Measures of one layer beside the best one for the law of its tasks. Of several layers no closed form is known."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...models.own.regression_config import RegressionConfig
from ...models.subject import NotApplicable
from ..algorithms.named import LEARNING_RATE
from ..measure import Measure, along, missing, without_interval
from ..regression.sensitivity import LOSS
from .examined import Examined
from .layer import Layer, step_matrix
from .layer_measures import DISTANCE, OF_THE_LAW, of_layers
from .names import LEVEL, OTHER, PART, STEP
from .optimum import (
    Law,
    excess_loss,
    optimal_learning_rate,
    optimal_loss,
    optimal_matrix,
    rank_losses,
    whitened_distance,
)
from .other_entries import other_loss

DEEPER = "its closed form is known for one layer only, since what later layers read depends on those before"
CLIPPED = "the model clips its activations, and then no closed form holds"
SELF = "the query attends to itself, and what that adds to its own answer has no closed form here"
SEVERAL = "where training with several labels rests has no closed form here"
SQUARED = "squared label"
ZHANG = "Zhang et al. 2024 assume Gaussian inputs and labels without noise, unlike this law"
UNITS = {
    "optimal_learning_rate": LEARNING_RATE,
    "optimum_distance": DISTANCE,
    "gaussian_optimum_distance": DISTANCE,
    "optimal_loss": LOSS,
    "excess_loss": LOSS,
    "expected_loss": LOSS,
    "level_loss": SQUARED,
}


def optimum_measures(examined: Examined, config: RegressionConfig) -> dict[str, Measure]:
    """Distances from the optimum, and what they cost; or why there is no optimum in closed form."""
    law = examined.law
    if config.n_layers > 1:
        law = NotApplicable(DEEPER)
    elif config.activation_clip is not None:
        law = NotApplicable(CLIPPED)
    if isinstance(law, NotApplicable):
        found = {name: missing(unit, "not applicable", law.reason) for name, unit in UNITS.items()}
        return found | {"excess_loss": along(PART, dict.fromkeys((STEP, OTHER), found["excess_loss"]))}
    return _Beside(examined.layers[0], [stack[0] for stack in examined.untrained], config, law).measures()


@dataclass(frozen=True)
class _Beside:
    """One layer, untrained ones, and the law that they are compared by."""

    layer: Layer
    untrained: Sequence[Layer]
    config: RegressionConfig
    law: Law

    def measures(self) -> dict[str, Measure]:
        zhang = self._distance(self.law.gaussian)
        if not self.law.is_gaussian:
            zhang = replace(zhang, message=f"{zhang.message}; {ZHANG}")
        return {
            "optimal_learning_rate": self._of_law(optimal_learning_rate(self.law), LEARNING_RATE),
            "optimum_distance": self._distance(self.law),
            "gaussian_optimum_distance": zhang,
            "optimal_loss": self._of_law(self._least, LOSS),
            "excess_loss": along(PART, {STEP: self._measure(self._step, LOSS), OTHER: self._even(self._other)}),
            "expected_loss": self._even(lambda one: self._least + self._step(one) + self._other(one)),
            "level_loss": self._levels,
        }

    @property
    def _levels(self) -> Measure:
        """Without the factor ½, as they are published."""
        if self.config.d_out > 1:
            return missing(SQUARED, "not applicable", SEVERAL)
        levels = 2 * rank_losses(self.law).numpy()
        return without_interval(levels, SQUARED, (LEVEL,), message=OF_THE_LAW, no_nulls=OF_THE_LAW)

    @property
    def _least(self) -> float:
        return self.config.d_out * optimal_loss(self.law)

    def _step(self, layer: Layer) -> float:
        return self.config.d_out * excess_loss(step_matrix(layer), self.law)

    def _other(self, layer: Layer) -> float:
        return other_loss(layer, self.law)

    def _distance(self, law: Law) -> Measure:
        best = optimal_matrix(law)
        return self._measure(lambda one: whitened_distance(step_matrix(one), best, law), DISTANCE)

    def _even(self, number: Callable[[Layer], float]) -> Measure:
        """A loss that is known only where the query is no key of its own."""
        if self.config.query_in_context:
            return missing(LOSS, "not applicable", SELF)
        return self._measure(number, LOSS)

    def _measure(self, number: Callable[[Layer], float], unit: str) -> Measure:
        return of_layers(np.array(number(self.layer)), unit, np.array([number(one) for one in self.untrained]), ())

    def _of_law(self, value: float, unit: str) -> Measure:
        return without_interval(np.array(value), unit, message=OF_THE_LAW, no_nulls=OF_THE_LAW)
