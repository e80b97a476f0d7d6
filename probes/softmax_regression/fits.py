"""The free settings of the candidates, each fitted on tuning tasks.

Those of the solvers are fitted to the *loss*, as Li et al. tune the learning rate: they do not depend on the model, and
all seeds of a family share them. Those of the smoother are fitted to the *model's predictions*.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import minimize
from torch import Tensor

from ...data.batch import Batch
from ..algorithms.fitting import STEP, Fit, fit_log_scale, given, scan_points
from ..comparing.memo import once_per_batch
from ..statistics.bootstrap import sandwich_interval
from .formulas import loss_of
from .names import GAUSS_NEWTON, GD, STEPS
from .solvers import Grams, Targets, descent, descent_path, gauss_newton, smoothing

RATES = (1e-2, 1e4)
_SCAN = np.exp(scan_points(*RATES)).tolist()
LENGTHS = (1e-3, 1e3)
FACTORS = (1e-1, 1e4)
SMOOTHER_TASKS = 300
"""A smoother is fitted for every checkpoint; so many tasks place its two settings well enough."""
STARTS = ((0.1, 100.0), (1.0, 10.0))
"""Sharpness and factor from which a smoother's fit begins, with either sign; the best end is kept."""
BOUNDS = ((1e-3, 30.0), (1e-3, 1e4))
"""Of sharpness and factor. Beyond, a smoother is a gradient step, a copy of b, or no step."""


@dataclass(frozen=True, eq=False)
class Settings:
    """rates: of gradient descent and of the Gauss-Newton step, by candidate; copy: the factor on b."""

    rates: dict[str, Fit]
    copy: Fit


@dataclass(frozen=True)
class Smoother:
    """Sharpness and factor, both of one sign: positive where similar tokens are attended to, negative where unlike."""

    sharpness: Fit
    factor: Fit


@once_per_batch
def fit_settings(tuning: Batch, learning_rate: float | None) -> Settings:
    """learning_rate: of the one gradient step, where it was given."""
    A, b = tuning.inputs, tuning.targets
    gram, unit = A @ A.mT, gauss_newton(A, b)
    rates = _rates(gram, b) | ({} if learning_rate is None else {GD.name: given(learning_rate)})
    rates[GAUSS_NEWTON.name] = _fitted(b, lambda length: length * unit, LENGTHS)
    return Settings(rates, copy=_fitted(b, lambda factor: factor * b, FACTORS))


def _rates(gram: Grams, b: Targets) -> dict[str, Fit]:
    """Of gradient descent, by candidate. One descent for each rate of the scan passes through all numbers of steps."""
    paths = [[_mean_loss(scores, b) for scores in descent_path(gram, b, max(STEPS.values()), rate)] for rate in _SCAN]
    means = np.array(paths)
    return {
        name: _fitted(b, partial(descent, gram, b, steps), RATES, means[:, steps - 1]) for name, steps in STEPS.items()
    }


def _mean_loss(scores: Targets, b: Targets) -> float:
    return float(loss_of(scores.softmax(dim=-1), b).numpy().mean())


def _fitted(
    b: Targets,
    scores: Callable[[float], Targets],
    ends: tuple[float, float],
    scanned: Float[np.ndarray, " point"] | None = None,
) -> Fit:
    return fit_log_scale(lambda setting: loss_of(scores(setting).softmax(dim=-1), b).numpy(), *ends, scanned)


def fit_smoother(tuning: Batch, prediction: Targets) -> Smoother:
    """The smoother closest to a model's predictions on the first tuning tasks, in squared distance; NaN where they are
    not finite.
    """
    if not prediction[:SMOOTHER_TASKS].isfinite().all():
        nothing = Fit(math.nan, math.nan, math.nan, n=min(len(tuning), SMOOTHER_TASKS))
        return Smoother(nothing, nothing)
    tasks = tuning[:SMOOTHER_TASKS]
    gram, b = tasks.inputs @ tasks.inputs.mT, tasks.targets
    objectives = [_Distance(gram, b, prediction[:SMOOTHER_TASKS], sign) for sign in (1, -1)]
    ends = [(objective, objective.least(start)) for objective in objectives for start in STARTS]
    objective, (logs, _) = min(ends, key=lambda end: end[1][1])
    return objective.smoother(logs)


@dataclass(frozen=True, eq=False)
class _Distance:
    """Half the squared distance between a smoother and a model, over the logarithms of sharpness and factor."""

    gram: Grams
    b: Targets
    prediction: Targets
    sign: int

    def of_tasks(self, logs: Tensor) -> Float[Tensor, " task"]:
        sharpness, factor = self.sign * logs.exp()
        return loss_of(smoothing(self.gram, self.b, sharpness, factor).softmax(dim=-1), self.prediction)

    def with_gradient(self, logs: Float[np.ndarray, " setting"]) -> tuple[float, Float[np.ndarray, " setting"]]:
        at = torch.tensor(logs, requires_grad=True)
        mean = self.of_tasks(at).mean()
        (gradient,) = torch.autograd.grad(mean, at)
        return float(mean.detach()), gradient.numpy()

    def least(self, start: tuple[float, float]) -> tuple[Float[np.ndarray, " setting"], float]:
        found = minimize(
            self.with_gradient, np.log(start), jac=True, method="L-BFGS-B", bounds=np.log(BOUNDS), tol=1e-12
        )
        return found.x, float(found.fun)

    def smoother(self, logs: Float[np.ndarray, " setting"]) -> Smoother:
        """With intervals of an M-estimator, from central differences."""
        scores, rows = [], []
        for step in np.eye(2) * STEP:
            above, below = (self.of_tasks(torch.tensor(logs + way * step)).numpy() for way in (1, -1))
            scores.append((above - below) / (2 * STEP))
            slopes = [self.with_gradient(logs + way * step)[1] for way in (1, -1)]
            rows.append((slopes[0] - slopes[1]) / (2 * STEP))
        ends = sandwich_interval(logs, np.stack(scores, axis=1), np.stack(rows))
        at_end = np.abs(logs[:, None] - np.log(BOUNDS)).min(axis=1) < STEP
        return Smoother(*(self._fit(*settings) for settings in zip(logs, *ends, at_end.tolist(), strict=True)))

    def _fit(self, log: float, low: float, high: float, at_end: bool) -> Fit:
        value, *bounds = (self.sign * float(np.exp(number)) for number in (log, low, high))
        return Fit(value, *sorted(bounds), n=len(self.b), at_end=at_end)
