"""How many steps of gradient descent a model is compared with, found on the tuning tasks.

1 to 2K steps, for a model of K layers. Where the most steps come closest of all algorithms, the range is widened: twice
as many, up to `MOST_STEPS`, then every number of steps between those tried that could be closer. A wrapped predictor
has no layers: K is then the number of steps that comes closest.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

from ...data.batch import Batch
from ..algorithms.algorithm import Algorithm
from ..algorithms.fitting import Fit
from ..algorithms.named import algorithms, gradient_descent
from ..measure import Measure, without_interval
from .names import descents
from .sensitivity import Behaviour, prediction_difference
from .setup import Setup

MOST_STEPS = 64
"""The widest range. At its best rate, descent of so many steps hardly differs from descent of a few more."""
PREDICTOR_STEPS = 4
"""The most steps that a wrapped predictor, whose layers are not known, is compared with before the range is widened."""


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
        for algorithm in algorithms(range(1, most + 1)):
            self._try(algorithm)
        while self._closest() == gradient_descent(max(self._tried)).name and max(self._tried) < MOST_STEPS:
            self._try(gradient_descent(min(2 * max(self._tried), MOST_STEPS)))
        while between := self._between():
            for steps in between:
                self._try(gradient_descent(steps))
        return tuple(k for k in self._tried if k <= most or abs(k - self.best) <= 1)

    @property
    def best(self) -> int:
        """The number of steps that comes closest."""
        return min(self._tried, key=lambda steps: self.distances[gradient_descent(steps).name])

    @property
    def _tried(self) -> list[int]:
        return descents(self.distances)

    def _closest(self) -> str:
        return min(self.distances, key=lambda name: self.distances[name])

    def _between(self) -> list[int]:
        """Half way from the best number of steps to the next ones tried, on both sides."""
        tried = self._tried
        place = tried.index(self.best)
        beside = tried[max(place - 1, 0) : place] + tried[place + 1 : place + 2]
        return [(self.best + other) // 2 for other in beside if abs(other - self.best) > 1]

    def _try(self, algorithm: Algorithm) -> None:
        gaps, fits = [], []
        for fold in self.setup.splits.folds:
            tasks, prediction = self.setup.spectrum(fold.tuning), self.model[fold.tuning].prediction
            setting = float("nan")
            if algorithm.setting is not None:
                fits.append(algorithm.fit(tasks, prediction))
                setting = fits[-1].value
            gaps.append(prediction_difference(algorithm.predictions(tasks, setting), prediction))
        if fits:
            self.fits[algorithm.name] = tuple(fits)
        distance = float(np.mean([float(gap.mean()) for gap in gaps]))
        self.distances[algorithm.name] = distance if np.isfinite(distance) else np.inf


def steps_measure(steps: int, how: str) -> Measure:
    """`constructed_steps`: how many steps constructed models take, and what decided it."""
    return without_interval(np.array(float(steps)), "step", message=how, no_nulls="a setting of the candidates")
