"""Twins: transformers constructed to perform gradient descent, set as close to the loss as they will go.

The authors scan the learning rate, and learn GD++'s (gamma, eta), on the loss itself; so do we, on a tuning split that
shares no task with the evaluation (theirs does). A twin takes the number of context tokens from the tasks, and
dampening and activation clip from the model it stands beside.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from jaxtyping import Float
from scipy.optimize import minimize
from torch.func import functional_call

from ...data.batch import Batch
from ...models.constructed.gradient_descent import gd_transformer, gdpp_products, gdpp_transformer
from ...models.own.regression_transformer import RegressionTransformer
from ..statistics.bootstrap import sandwich_interval
from .rivals import STEP, Fit, fit_log_scale
from .sensitivity import half_squared_error, predictions

RATE_RANGE = (1e-3, 1e3)


@dataclass(frozen=True)
class TwinShape:
    """What a twin shares with the model it stands beside."""

    n_context: int
    d_in: int
    d_out: int
    n_layers: int
    tied: bool = True
    dampening: float = 1.0
    activation_clip: float | None = None

    @property
    def n_blocks(self) -> int:
        return 1 if self.tied else self.n_layers


def gd_twin(shape: TwinShape, learning_rate: float) -> RegressionTransformer:
    """`n_layers` steps of gradient descent; float64."""
    return gd_transformer(
        shape.n_context,
        learning_rate,
        shape.d_in,
        shape.d_out,
        shape.n_layers,
        dampening=shape.dampening,
        activation_clip=shape.activation_clip,
    )


def gdpp_twin(shape: TwinShape, rates: Sequence[float], gammas: Sequence[float]) -> RegressionTransformer:
    """`n_layers` steps of GD++; float64."""
    return gdpp_transformer(
        shape.n_context,
        rates,
        gammas,
        shape.d_in,
        shape.d_out,
        shape.n_layers,
        tied=shape.tied,
        dampening=shape.dampening,
        activation_clip=shape.activation_clip,
    )


@lru_cache(maxsize=8)
def fit_learning_rate(shape: TwinShape, tuning: Batch, batch_size: int, gamma_per_rate: float = 0.0) -> Fit:
    """The rate with the lowest loss on the tuning tasks: scan, then refine (the authors scan 0.001 to 25 by 0.1).

    `gamma_per_rate` ties a GD++ curvature to the rate, γ = η * gamma_per_rate: the authors' starting point for GD++.
    """

    def losses(rate: float) -> Float[np.ndarray, " task"]:
        twin = gdpp_twin(shape, [rate] * shape.n_blocks, [rate * gamma_per_rate] * shape.n_blocks)
        return _losses(twin, tuning, batch_size)

    return fit_log_scale(losses, *RATE_RANGE)


def _losses(twin: RegressionTransformer, tuning: Batch, batch_size: int) -> Float[np.ndarray, " task"]:
    return half_squared_error(predictions(twin, tuning.inputs, batch_size), tuning.targets).numpy()


@dataclass(frozen=True)
class GDPPFit:
    """GD++'s settings, one a block, with their 95 % intervals over tuning tasks."""

    learning_rates: tuple[Fit, ...]
    gammas: tuple[Fit, ...]


@lru_cache(maxsize=4)
def fit_gdpp(shape: TwinShape, tuning: Batch, batch_size: int) -> GDPPFit:
    """Learn GD++'s rates and gammas on the tuning loss, from the authors' start (γ = η/N², η from a scan).

    The authors take Adam steps on fresh tasks; L-BFGS on a fixed split finds the same minimum, and the same bytes.
    """
    gamma_per_rate = 1 / shape.n_context**2
    start = fit_learning_rate(shape, tuning, batch_size, gamma_per_rate).value
    blocks = shape.n_blocks
    scale = np.array([start] * blocks + [start * gamma_per_rate] * blocks)  # both kinds of setting are then near 1

    def loss_and_gradient(scaled: np.ndarray) -> tuple[float, np.ndarray]:
        return _gdpp_loss(shape, scaled, scale, tuning, batch_size)

    found = minimize(loss_and_gradient, np.ones(2 * blocks), jac=True, method="L-BFGS-B", tol=1e-12)
    low, high = _gdpp_interval(shape, found.x, scale, tuning, batch_size)
    settings = zip(found.x * scale, low * scale, high * scale, strict=True)
    fits = tuple(Fit(float(value), float(a), float(b), len(tuning)) for value, a, b in settings)
    return GDPPFit(fits[:blocks], fits[blocks:])


def _gdpp_interval(
    shape: TwinShape, scaled: np.ndarray, scale: np.ndarray, tuning: Batch, batch_size: int
) -> tuple[np.ndarray, np.ndarray]:
    steps = np.eye(len(scaled)) * STEP
    scores, rows = [], []
    for step in steps:
        sides = [_losses(_scaled_twin(shape, (scaled + s) * scale), tuning, batch_size) for s in (step, -step)]
        scores.append((sides[0] - sides[1]) / (2 * STEP))
        slopes = [_gdpp_loss(shape, scaled + s, scale, tuning, batch_size)[1] for s in (step, -step)]
        rows.append((slopes[0] - slopes[1]) / (2 * STEP))
    return sandwich_interval(scaled, np.stack(scores, axis=1), np.stack(rows))


def _scaled_twin(shape: TwinShape, settings: np.ndarray) -> RegressionTransformer:
    rates, gammas = np.split(settings, 2)
    return gdpp_twin(shape, rates.tolist(), gammas.tolist())


def _gdpp_loss(
    shape: TwinShape, scaled: np.ndarray, scale: np.ndarray, tuning: Batch, batch_size: int
) -> tuple[float, np.ndarray]:
    """Mean loss and its gradient with respect to the scaled settings."""
    settings = torch.tensor(scaled * scale, requires_grad=True)
    twin = _scaled_twin(shape, scaled * scale)
    loss = 0.0
    for start in range(0, len(tuning), batch_size):
        tasks = tuning[start : start + batch_size]
        rates, gammas = settings.chunk(2)
        KQ, PV = gdpp_products(shape.n_context, rates, gammas, shape.d_in, shape.d_out)
        prediction = functional_call(twin, {"W_Q": KQ, "W_O": PV}, (tasks.inputs,))
        share = 0.5 * (prediction - tasks.targets).square().sum() / len(tuning)
        share.backward()
        loss += float(share.detach())
    assert settings.grad is not None  # backward has just filled it
    return loss, settings.grad.numpy() * scale
