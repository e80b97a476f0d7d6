"""How many steps of gradient descent a model is compared with, found on the tuning tasks.

1 to 2K steps, for a model of K layers. Where the closest algorithm explains the model in part only, or takes the most
steps, the range is widened: every number up to 8, then up to 64 in larger strides, then the numbers between those tried
that could be closer. A wrapped predictor has no layers: K is then the number of steps at which
gradient descent, or constructed GD++, comes closest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ...data.batch import Batch
from ..algorithms.algorithm import Algorithm, fit_each
from ..algorithms.fitting import Fit
from ..algorithms.named import algorithms, gradient_descent
from ..comparing.behaviour import Behaviour, prediction_difference
from ..comparing.unexplained import variation
from ..comparing.verdicts import NEXT_TO_NOTHING, NOTHING
from ..measure import Measure, without_interval
from ..regression.sensitivity import predictions
from .constructed import constructed_gdpp
from .constructed_fits import fit_gdpp
from .names import GDPP_LAYERS, descents
from .setup import Setup

LADDER = (*range(1, 9), 12, 16, 24, 32, 48, 64)
"""Numbers of steps of the widest range. Descent at a high rate oscillates, so odd and even numbers of steps are two
families: small numbers are all tried. At its best rate, descent of 64 steps hardly differs from that of a few more.
"""
PREDICTOR_STEPS = 4
"""The most steps that a wrapped predictor, whose layers are not known, is compared with before the range is widened."""
CONSTRUCTED_STEPS = 16
"""The most steps of constructed models for a predictor: each of them is a layer, whose passes take time."""
GDPP_TASKS = 300
"""Tuning tasks of each fold that decide on them: each number of layers has to be fitted."""


@dataclass
class StepSearch:
    """Fits of every algorithm that was tried, on each fold's tuning tasks, and how close it comes there.

    model:      the subject on the tuning tasks
    fits:       by name, one a fold; of algorithms with a setting
    distances:  mean prediction difference from the model, by name; infinite where it is not finite
    """

    setup: Setup
    model: Mapping[Batch, Behaviour]
    fits: dict[str, tuple[Fit, ...]] = field(default_factory=dict)
    distances: dict[str, float] = field(default_factory=dict)

    def run(self, most: int) -> tuple[int, ...]:
        """Numbers of steps to compare with: 1 to `most`, and where more come closer, the best with its neighbours."""
        self._try(algorithms(range(1, most + 1)))
        if self._explains(but_not_all=self._closest != gradient_descent(most)):
            self._try([gradient_descent(steps) for steps in LADDER if steps > most])
        while between := self._between():
            self._try(list(map(gradient_descent, between)))
        return tuple(k for k in self._tried if k <= most or abs(k - self._best) <= 1)

    def layers(self, of_gdpp: bool) -> int:
        """K of constructed models, for a predictor; more than `PREDICTOR_STEPS` where they come closest of all.

        of_gdpp:  whether GD++ is one of the constructed models
        """
        if of_gdpp and self._explains(but_not_all=True) and (layers := self._layers_of_gdpp()):
            return layers
        if self._closest == gradient_descent(self._best) and self._best <= CONSTRUCTED_STEPS:
            return self._best
        return min(range(1, PREDICTOR_STEPS + 1), key=lambda steps: self.distances[gradient_descent(steps).name])

    @property
    def _best(self) -> int:
        """The number of steps that comes closest."""
        return min(self._tried, key=lambda steps: self.distances[gradient_descent(steps).name])

    @property
    def _tried(self) -> list[int]:
        return descents(self.distances)

    @property
    def _closest(self) -> Algorithm:
        return min(algorithms(self._tried), key=lambda algorithm: self.distances[algorithm.name])

    def _explains(self, but_not_all: bool) -> bool:
        """Whether the closest algorithm explains more of the model than it leaves, and still leaves something."""
        own = [float(variation(self.model[fold.tuning].prediction).mean()) for fold in self.setup.splits.folds]
        left, of = self.distances[self._closest.name], float(np.mean(own))
        return left <= NOTHING * of and (left > NEXT_TO_NOTHING * of or not but_not_all)

    def _between(self) -> list[int]:
        """Half way from the best number of steps to the next ones tried, on both sides."""
        tried = self._tried
        place = tried.index(self._best)
        beside = tried[max(place - 1, 0) : place] + tried[place + 1 : place + 2]
        return [(self._best + other) // 2 for other in beside if abs(other - self._best) > 1]

    def _try(self, tried: Sequence[Algorithm]) -> None:
        free, folds = [algorithm for algorithm in tried if algorithm.setting is not None], self.setup.splits.folds
        found = [fit_each(free, self.setup.spectrum(fold.tuning), self.model[fold.tuning].prediction) for fold in folds]
        self.fits |= {algorithm.name: tuple(fits[algorithm.name] for fits in found) for algorithm in free}
        for algorithm in tried:
            answers = [self._answers(algorithm, number, fold.tuning) for number, fold in enumerate(folds)]
            self.distances[algorithm.name] = self._distance(answers)

    def _answers(self, algorithm: Algorithm, fold: int, tasks: Batch) -> Float[Tensor, "task d_out"]:
        """Those of an algorithm with what was fitted on the tuning tasks of a fold."""
        setting = self.fits[algorithm.name][fold].value if algorithm.setting else float("nan")
        return algorithm.predictions(self.setup.spectrum(tasks), setting)

    def _distance(self, answers: list[Float[Tensor, "task d_out"]]) -> float:
        """From the model on the first tuning tasks of each fold, as many as there are answers."""
        held = [self.model[fold.tuning].prediction for fold in self.setup.splits.folds]
        gaps = [prediction_difference(of, own[: len(of)]) for of, own in zip(answers, held, strict=True)]
        distance = float(np.mean([float(gap.mean()) for gap in gaps]))
        return distance if np.isfinite(distance) else np.inf

    def _layers_of_gdpp(self) -> int | None:
        """At how many layers GD++ comes closer than every algorithm; None where it does at none.

        The range is widened, one layer at a time, where the most layers come closest.
        """
        tasks = [fold.tuning[:GDPP_TASKS] for fold in self.setup.splits.folds]
        least = self._distance([self._answers(self._closest, fold, few) for fold, few in enumerate(tasks)])
        best = None
        for layers in range(2, GDPP_LAYERS + 1):
            if layers > PREDICTOR_STEPS and best != layers - 1:
                break
            distance = self._distance([self._gdpp(layers, few) for few in tasks])
            best, least = (layers, distance) if distance < least else (best, least)
        return best

    def _gdpp(self, layers: int, tasks: Batch) -> Float[Tensor, "task d_out"]:
        """Predictions of constructed GD++ with so many layers, at the settings with the lowest loss on these tasks."""
        shape = replace(self.setup.shape, n_layers=layers)
        found = fit_gdpp(tasks, shape, self.setup.batch_size)
        rates, gammas = ([fit.value for fit in fits] for fits in (found.learning_rates, found.gammas))
        return predictions(constructed_gdpp(shape, rates, gammas), tasks.inputs, self.setup.batch_size)


def steps_measure(steps: int, how: str) -> Measure:
    """`constructed_steps`: how many steps constructed models take, and what decided it."""
    return without_interval(np.array(float(steps)), "step", message=how, no_nulls="a setting of the candidates")
