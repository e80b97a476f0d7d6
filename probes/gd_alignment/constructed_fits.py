"""The settings at which a constructed model's loss is least.

The authors scan the learning rate, and learn GD++'s (γ, η), on the loss itself. So do we, on tuning tasks that share
none with the evaluation (theirs do).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import minimize

from ...data.batch import Batch
from ...models.constructed.gradient_descent import gdpp_products
from ...models.own.merged import merged, predict_stack
from ...models.own.regression_transformer import RegressionTransformer
from ..algorithms.fitting import STEP, Fit, fit_log_scale
from ..algorithms.spectrum import decompose
from ..comparing.behaviour import half_squared_error
from ..comparing.memo import once_per_batch
from ..regression.sensitivity import predictions
from ..statistics.bootstrap import sandwich_interval
from .constructed import ConstructedShape, constructed_gdpp
from .gdpp_by_layer import fit_by_layer

RATE_RANGE = (1e-3, 1e3)
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
    """Learn GD++'s rates and gammas on the tuning loss.

    The authors take Adam steps on fresh tasks, from γ = η/N² with η from a scan; from there L-BFGS on a fixed split
    finds the same minimum of settings that layers share, and the same bytes. For settings of their own see
    `gdpp_by_layer`: the last of several gammas moves no prediction, and stays where it starts.
    """
    if shape.tied:
        gamma_per_rate = 1 / shape.n_context**2
        rate = fit_learning_rate(tuning, shape, batch_size, gamma_per_rate).value
        return _least(_GDPPObjective(shape, np.array([rate, rate * gamma_per_rate]), tuning, batch_size))
    fits = fit_by_layer(decompose(tuning.inputs, shape.d_in), tuning.targets, shape.n_layers)
    fits = [fit.times(1 / shape.dampening) for fit in fits]  # dampening multiplies both updates
    objective = _GDPPObjective(shape, np.array([fit.value for fit in fits]), tuning, batch_size)
    return _least(objective) if objective.clips else _as_gdpp(fits)


def _as_gdpp(fits: Sequence[Fit]) -> GDPPFit:
    blocks = len(fits) // 2
    return GDPPFit(tuple(fits[:blocks]), tuple(fits[blocks:]))


def _least(objective: _GDPPObjective) -> GDPPFit:
    """The least loss from where the objective's scale is, on the constructed model itself."""
    found = minimize(
        objective.loss_and_gradient,
        np.ones(len(objective.scale)),
        jac=True,
        method="L-BFGS-B",
        tol=1e-12,
        options={"maxiter": _MOST_ITERATIONS},
    )
    low, high = sandwich_interval(found.x, *objective.slopes(found.x))
    ends = zip(found.x * objective.scale, low * objective.scale, high * objective.scale, strict=True)
    return _as_gdpp([Fit(*map(float, each), n=len(objective.tuning)) for each in ends])


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

    @property
    def clips(self) -> bool:
        """Whether a clip changes predictions at the settings of `scale`."""
        if self.shape.activation_clip is None:
            return False
        free = replace(self, shape=replace(self.shape, activation_clip=None))
        here = np.ones(len(self.scale))
        return not np.allclose(self.losses(here), free.losses(here), equal_nan=True)

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

    def slopes(
        self, scaled: Float[np.ndarray, " setting"]
    ) -> tuple[Float[np.ndarray, "task setting"], Float[np.ndarray, "setting setting"]]:
        """Each task's gradient and the mean loss's Hessian, by central differences."""
        scores, rows = [], []
        for step in np.eye(len(scaled)) * STEP:
            above, below = scaled + step, scaled - step
            scores.append((self.losses(above) - self.losses(below)) / (2 * STEP))
            slopes = [self.loss_and_gradient(settings)[1] for settings in (above, below)]
            rows.append((slopes[0] - slopes[1]) / (2 * STEP))
        return np.stack(scores, axis=1), np.stack(rows)
