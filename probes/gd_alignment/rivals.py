"""Rival explanations: what else could a model that predicts y from a context be doing?

Every rival here is linear in the query, y_hat = W x_q, and a spectral filter of the context: with X = U S V^T

    W^T = V diag(g(s²) s) U^T Y        ridge: g = 1 / (s² + λ);  least squares of minimum norm: g = 1 / s²;
                                       k steps of gradient descent from 0: g = (1 - (1 - η s²/N)^k) / s²

so one decomposition serves them all. A rival with a free setting gets the value that brings it closest to the *model*
on tuning tasks: the strongest form of the rival. (Fitted to labels instead, ridge on noiseless tasks is least squares.)
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from einops import einsum
from jaxtyping import Float
from scipy.optimize import minimize_scalar
from torch import Tensor

from ..statistics.bootstrap import sandwich_interval
from .sensitivity import Behaviour

Filter = Callable[[Float[Tensor, "task rank"], int, float], Float[Tensor, "task rank"]]
"""(s², N, setting) -> g(s²)"""

SETTING_RANGE = (1e-6, 1e4)  # ridge penalties and learning rates are sought here, on a logarithmic scale
STEP = 1e-4  # of the numerical derivatives for a fit's interval, in the logarithm
GRID = 61  # a loss over a setting may have several valleys: a coarse scan finds the valley, Brent's method its floor


@dataclass(frozen=True)
class Spectrum:
    """A batch of tasks, decomposed once.

    s2 [task, rank] squared singular values of the context; projected_query [task, rank] = x_q V;
    projected_labels [task, rank, d_out] = S U^T Y; V [task, d_in, rank]; mean_label [task, d_out]
    """

    s2: Float[Tensor, "task rank"]
    projected_query: Float[Tensor, "task rank"]
    projected_labels: Float[Tensor, "task rank d_out"]
    V: Float[Tensor, "task d_in rank"]
    mean_label: Float[Tensor, "task d_out"]
    n_context: int


def decompose(inputs: Float[Tensor, "task token feature"], d_in: int) -> Spectrum:
    """Singular value decomposition of every task's context, in float64 on the CPU."""
    inputs = inputs.detach().cpu().double()
    X, Y, query = inputs[:, :-1, :d_in], inputs[:, :-1, d_in:], inputs[:, -1, :d_in]
    U, S, Vh = torch.linalg.svd(X, full_matrices=False)
    labels = S[..., None] * (U.mT @ Y)
    return Spectrum(S**2, einsum(Vh, query, "t r d, t d -> t r"), labels, Vh.mT, Y.mean(dim=1), X.shape[1])


def ridge_filter(s2: Tensor, n_context: int, penalty: float) -> Tensor:
    return 1 / (s2 + penalty)


def min_norm_filter(s2: Tensor, n_context: int, setting: float) -> Tensor:
    # singular values below the usual numerical rank are treated as zero, as numpy.linalg.lstsq does
    tolerance = (torch.finfo(s2.dtype).eps * max(n_context, s2.shape[-1])) ** 2 * s2.amax(dim=-1, keepdim=True)
    return torch.where(s2 > tolerance, 1 / s2.clamp_min(torch.finfo(s2.dtype).tiny), 0.0)


def gd_filter(steps: int) -> Filter:
    def g(s2: Tensor, n_context: int, learning_rate: float) -> Tensor:
        # the geometric sum (η/N) Σ_j (1 - η s²/N)^j: finite at s² = 0, where the quotient form is 0/0
        decay = 1 - learning_rate / n_context * s2
        total = torch.ones_like(s2)
        for _ in range(steps - 1):
            total = 1 + decay * total
        return learning_rate / n_context * total

    return g


@dataclass(frozen=True)
class Rival:
    """A named explanation. `g` None: no dependence on the query; `setting` names what is fitted, if anything."""

    name: str
    title: str
    g: Filter | None
    setting: str | None = None

    def behaviour(self, tasks: Spectrum, setting: float) -> Behaviour:
        """Predictions and sensitivities, exactly."""
        n, d_in, _ = tasks.V.shape
        d_out = tasks.mean_label.shape[1]
        if self.g is None:
            constant = tasks.mean_label if self.name == "mean_label" else torch.zeros_like(tasks.mean_label)
            return Behaviour(constant, torch.zeros(n, d_out, d_in, dtype=torch.float64))
        filtered = self.g(tasks.s2, tasks.n_context, setting)[..., None] * tasks.projected_labels
        return Behaviour(
            einsum(tasks.projected_query, filtered, "t r, t r o -> t o"),
            einsum(tasks.V, filtered, "t d r, t r o -> t o d"),
        )

    def fit(self, tasks: Spectrum, prediction: Float[Tensor, "task d_out"]) -> Fit | None:
        """The setting whose predictions are closest (mean squared difference) to the model's on these tasks."""
        if self.g is None or self.setting is None:
            return None
        g = self.g

        def distances(setting: float) -> Float[np.ndarray, " task"]:
            weight = g(tasks.s2, tasks.n_context, setting) * tasks.projected_query
            found = einsum(weight, tasks.projected_labels, "t r, t r o -> t o")
            return (found - prediction).square().sum(dim=1).numpy()

        return fit_log_scale(distances, *SETTING_RANGE)


@dataclass(frozen=True)
class Fit:
    """A fitted positive setting with its 95 % interval over tuning tasks."""

    value: float
    low: float
    high: float
    n: int


def fit_log_scale(objective: Callable[[float], Float[np.ndarray, " task"]], low: float, high: float) -> Fit:
    """Minimise a mean over tasks of `objective` over a positive setting, on a logarithmic scale.

    Scan first, refine between the best point's neighbours, polish. The interval is that of an M-estimator.
    """

    def mean(log_setting: float) -> float:
        value = float(objective(float(np.exp(log_setting))).mean())
        return value if np.isfinite(value) else sys.float_info.max

    grid = np.linspace(np.log(low), np.log(high), GRID)
    values = [mean(float(x)) for x in grid]
    best = int(np.argmin(values))
    if values[best] == sys.float_info.max:  # the model's own predictions are not finite: nothing is closest to them
        nan = float("nan")
        return Fit(nan, nan, nan, n=len(objective(low)))
    bounds = (float(grid[max(best - 1, 0)]), float(grid[min(best + 1, GRID - 1)]))
    result: Any = minimize_scalar(mean, bounds=bounds, method="bounded", options={"xatol": 1e-10})
    found = _polished(mean, float(result.x))
    below, at, above = (objective(float(np.exp(found + step))) for step in (-STEP, 0.0, STEP))
    scores, curvature = (above - below) / (2 * STEP), ((above - 2 * at + below) / STEP**2).mean()
    ends = sandwich_interval(np.array([found]), scores[:, None], np.array([[curvature]]))
    return Fit(float(np.exp(found)), *(float(np.exp(end[0])) for end in ends), n=len(at))


def _polished(mean: Callable[[float], float], found: float) -> float:
    """One Newton step: values alone place a minimum to half the digits (1e-8), its slope to nearly all of them.

    Not taken where it would be no small correction: at an end of the range, or where the loss is flat.
    """
    values = {k: mean(found + k * STEP) for k in (-2, -1, 0, 1, 2)}
    slope = (8 * (values[1] - values[-1]) - (values[2] - values[-2])) / (12 * STEP)  # exact to fourth order
    curvature = (values[1] - 2 * values[0] + values[-1]) / STEP**2
    step = slope / curvature if curvature > 0 else np.inf
    return found - step if abs(step) < STEP else found


def rivals(n_layers: int) -> tuple[Rival, ...]:
    """Every rival of a model of `n_layers` layers; gradient descent takes 1 to 2 * n_layers steps."""
    steps = range(1, 2 * n_layers + 1)
    return (
        Rival("zero", "zero predictor", None),
        Rival("mean_label", "mean label", None),
        Rival("ridge", "ridge", ridge_filter, "ridge_penalty"),
        Rival("min_norm", "least squares", min_norm_filter),
        *(Rival(f"gd_{k}", f"GD, {k} step{'s' * (k > 1)}", gd_filter(k), f"learning_rate_gd_{k}") for k in steps),
    )
