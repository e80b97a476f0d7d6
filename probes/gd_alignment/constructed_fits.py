"""The settings at which a constructed model's loss is least.

The authors scan the learning rate, and learn GD++'s (γ, η), on the loss itself. So do we, on tuning tasks that share
none with the evaluation (theirs do).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import minimize

from ...data.batch import Batch
from ...models.constructed.gradient_descent import gdpp_products
from ...models.own.merged import merged, predict_stack
from ...models.own.regression_transformer import RegressionTransformer
from ..algorithms.fitting import STEP, Fit, fit_log_scale
from ..comparing.behaviour import half_squared_error
from ..comparing.memo import once_per_batch
from ..regression.sensitivity import predictions
from ..statistics.bootstrap import sandwich_interval
from .constructed import ConstructedShape, constructed_gdpp

RATE_RANGE = (1e-3, 1e3)
UNTIED_TASKS = 2_000
"""On which GD++ with settings of its own in every layer is fitted, the first of the tuning tasks."""
_MOST_ITERATIONS = 200  # settings of many layers make up for each other: then the loss levels off long before they do


@once_per_batch
def fit_learning_rate(tuning: Batch, shape: ConstructedShape, batch_size: int, gamma_per_rate: float = 0.0) -> Fit:
    """The learning rate with the lowest loss on the tuning tasks. (The authors scan 0.001 to 25 in steps of 0.1.)

    `gamma_per_rate` ties a GD++ curvature to the rate, γ = η * gamma_per_rate: the authors' starting point for GD++.
    """

    def losses(rate: float) -> Float[np.ndarray, " task"]:
        model = constructed_gdpp(shape, [rate] * shape.n_blocks, [rate * gamma_per_rate] * shape.n_blocks)
        return _losses(model, tuning, batch_size)

    return fit_log_scale(losses, *RATE_RANGE)


def _losses(model: RegressionTransformer, tuning: Batch, batch_size: int) -> Float[np.ndarray, " task"]:
    return half_squared_error(predictions(merged(model), tuning.inputs, batch_size), tuning.targets).numpy()


@dataclass(frozen=True)
class GDPPFit:
    """GD++'s settings, one a block: η and γ (1 / squared input), with their 95 % intervals over tuning tasks."""

    learning_rates: tuple[Fit, ...]
    gammas: tuple[Fit, ...]


@once_per_batch
def fit_gdpp(tuning: Batch, shape: ConstructedShape, batch_size: int) -> GDPPFit:
    """Learn GD++'s rates and gammas on the tuning loss, from the authors' start (γ = η/N², η from a scan).

    The authors take Adam steps on fresh tasks; L-BFGS on a fixed split finds the same minimum, and the same bytes. The
    last of several gammas moves no prediction, and stays where it starts.
    """
    tuning = tuning if shape.tied else tuning[:UNTIED_TASKS]
    gamma_per_rate = 1 / shape.n_context**2
    start = fit_learning_rate(tuning, shape, batch_size, gamma_per_rate).value
    blocks = shape.n_blocks
    scale = np.array([start] * blocks + [start * gamma_per_rate] * blocks)
    objective = _GDPPObjective(shape, scale, tuning, batch_size)
    found = minimize(
        objective.loss_and_gradient,
        np.ones(2 * blocks),
        jac=True,
        method="L-BFGS-B",
        tol=1e-12,
        options={"maxiter": _MOST_ITERATIONS},
    )
    low, high = _interval(objective, found.x)
    ends = zip(found.x * scale, low * scale, high * scale, strict=True)
    fits = tuple(Fit(float(value), float(below), float(above), len(tuning)) for value, below, above in ends)
    return GDPPFit(fits[:blocks], fits[blocks:])


def _interval(objective: _GDPPObjective, scaled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """That of an M-estimator, from central differences of each task's loss and of the mean loss's gradient. NaN for a
    setting that moves no prediction.
    """
    scores, rows = [], []
    for step in np.eye(len(scaled)) * STEP:
        above, below = scaled + step, scaled - step
        scores.append((objective.losses(above) - objective.losses(below)) / (2 * STEP))
        slopes = [objective.loss_and_gradient(settings)[1] for settings in (above, below)]
        rows.append((slopes[0] - slopes[1]) / (2 * STEP))
    of_tasks, hessian = np.stack(scores, axis=1), np.stack(rows)
    low, high = np.full((2, len(scaled)), np.nan)
    moves = of_tasks.any(axis=0)
    low[moves], high[moves] = sandwich_interval(scaled[moves], of_tasks[:, moves], hessian[np.ix_(moves, moves)])
    return low, high


@dataclass(frozen=True)
class _GDPPObjective:
    """The loss of GD++ on tuning tasks, as a function of settings divided by `scale`: rates and gammas are then near 1.

    scale:  [rates of all blocks, gammas of all blocks]
    """

    shape: ConstructedShape
    scale: Float[np.ndarray, " setting"]
    tuning: Batch
    batch_size: int

    def model(self, scaled: Float[np.ndarray, " setting"]) -> RegressionTransformer:
        rates, gammas = np.split(scaled * self.scale, 2)
        return constructed_gdpp(self.shape, rates.tolist(), gammas.tolist())

    def losses(self, scaled: Float[np.ndarray, " setting"]) -> Float[np.ndarray, " task"]:
        return _losses(self.model(scaled), self.tuning, self.batch_size)

    def loss_and_gradient(self, scaled: Float[np.ndarray, " setting"]) -> tuple[float, Float[np.ndarray, " setting"]]:
        """The mean loss, and its gradient with respect to the scaled settings."""
        settings = torch.tensor(scaled * self.scale, requires_grad=True)
        config, shape, loss = self.model(scaled).config, self.shape, 0.0
        for start in range(0, len(self.tuning), self.batch_size):
            tasks = self.tuning[start : start + self.batch_size]
            rates, gammas = settings.chunk(2)
            KQ, PV = gdpp_products(shape.n_context, rates, gammas, shape.d_in, shape.d_out)
            prediction = predict_stack(config, KQ[None], PV[None], tasks.inputs)[0]
            share = 0.5 * (prediction - tasks.targets).square().sum() / len(self.tuning)
            share.backward()
            loss += float(share.detach())
        assert settings.grad is not None  # backward has just filled it
        return loss, settings.grad.numpy() * self.scale
