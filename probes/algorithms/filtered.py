"""Families that are spectral filters: gradient descent and its relatives, ridge regression, least squares.

With the squared singular values s² of a context, and the filter g of `filters.py`, 1 - s² g(s²) is what is left of a
label after the algorithm:

    T steps of gradient descent          (1 - η s²/N)^T
    gradient flow for a time t           exp(-t s²/N), the limit of many small steps, t = η T
    with momentum β (heavy ball)         the same recursion with v_t = β v_{t-1} + gradient
    GD++ of L layers (von Oswald 2023)   Π (1 - η c_l² s²/N), c_{l+1} = c_l (1 - γ c_l² s²): inputs shrink as well
    k iterations of Newton's method      (1 - α s⁴)^(2^k), from the inverse M_0 = α XᵀX (Schulz; Fu et al. 2310.17086)
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from einops import einsum
from jaxtyping import Float, Inexact
from torch import Tensor

from .algorithm import SETTING_RANGE
from .contexts import Contexts
from .families import Family, Fitted, Predictions
from .filters import Descent, minimum_norm_filter, ridge_filter
from .fitting import fit_log_scale
from .several import Free, fit_two
from .spectrum import Spectrum

Rule = Callable[..., Float[Tensor, "*point task rank"]]
"""(s², N, steps, *settings) -> g(s²)"""
Distances = Callable[[Float[Tensor, "*point task rank"]], Float[Tensor, "*point task"]]
"""g(s²) -> each task's own distance."""
MOST_STEPS = 256
STEPS = (*range(1, 9), 12, 16, 24, 32, 48, 64, 96, 128, 192, MOST_STEPS)
RATE = Free("learning rate", *SETTING_RANGE, points=41, power=-1)
PENALTY = Free("penalty", *SETTING_RANGE, points=61, power=1)
MOMENTUM = Free("momentum", 0.01, 0.99, points=9, share=True)
CURVATURE = Free("gamma", 1e-6, 1e2, points=25, power=-1)
TIME = Free("time", *SETTING_RANGE, points=61, power=-1)
SCALE = Free("initial scale", 1e-8, 1e4, points=61, power=-2)
"""Ranges in powers of the mean s² of the contexts."""


def flow_filter(
    s2: Float[Tensor, "task rank"], n_context: int, time: float | Tensor
) -> Float[Tensor, "*point task rank"]:
    """(1 - exp(-t s²/N)) / s², finite at s² = 0."""
    rate = time / n_context
    done = rate * s2
    return rate * torch.where(done > 1e-12, -torch.expm1(-done) / done.clamp_min(1e-12), 1.0)


def momentum_filter(
    s2: Float[Tensor, "task rank"], n_context: int, steps: int, momentum: float, learning_rate: float | Tensor
) -> Float[Tensor, "*point task rank"]:
    """Heavy ball from w = 0: v <- β v + (η/N) (Xᵀy - XᵀX w), w <- w + v."""
    g, v = torch.zeros_like(s2), torch.zeros_like(s2)
    for _ in range(steps):
        v = momentum * v + (learning_rate / n_context) * (1 - s2 * g)
        g = g + v
    return g


def gdpp_filter(
    s2: Float[Tensor, "task rank"], n_context: int, steps: int, gamma: float, learning_rate: float | Tensor
) -> Float[Tensor, "*point task rank"]:
    """GD++: each layer takes a step on the inputs as they are, then x_j <- x_j - γ Σ_i x_i (x_i·x_j)."""
    return gdpp_layers_filter(s2, n_context, (gamma,) * steps, (learning_rate,) * steps)


def gdpp_layers_filter(
    s2: Float[Tensor, "*batch rank"],
    n_context: int,
    gammas: Sequence[float | Tensor],
    learning_rates: Sequence[float | Tensor],
) -> Inexact[Tensor, "*point rank"]:
    """The same, with settings of its own in every layer; a polynomial of them, so complex ones do as well."""
    g, left, c2 = torch.zeros_like(s2), torch.ones_like(s2), torch.ones_like(s2)
    for gamma, rate in zip(gammas, learning_rates, strict=True):
        step = (rate / n_context) * c2 * left
        g, left, c2 = g + step, left - s2 * step, c2 * (1 - gamma * c2 * s2).square()
    return g


def newton_filter(
    s2: Float[Tensor, "task rank"], n_context: int, steps: int, scale: float
) -> Float[Tensor, "task rank"]:
    """M_0 = α S, M_{k+1} = 2 M_k - M_k S M_k with S = XᵀX; w = M_k Xᵀy."""
    m = scale * s2
    for _ in range(steps):
        m = m * (2 - m * s2)
    return m


@dataclass(frozen=True)
class Filtered(Family):
    """A family of spectral filters.

    rule:      its filter
    settings:  what is free in it
    """

    rule: Rule
    settings: tuple[Free, ...] = ()

    @property
    def free(self) -> int:  # pyright: ignore[reportIncompatibleVariableOverride] - by instance here
        return len(self.settings)

    def fit(self, contexts: Contexts, predictions: Predictions, steps: int = 0) -> Fitted:
        tasks, shown = contexts.spectrum, predictions.detach()

        def distances(g: Float[Tensor, "*point task rank"]) -> Float[Tensor, "*point task"]:
            answers = (g[..., None] * tasks.without_filter).sum(dim=-2)
            return (answers - shown).square().sum(dim=-1)

        return self.fit_filter(tasks, distances, steps)

    def fit_filter(self, tasks: Spectrum, distances: Distances, steps: int = 0) -> Fitted:
        """The member of so many steps whose filter has the least mean over tasks of these distances."""
        if not self.settings:
            return Fitted(steps)

        def at(*values: float | Tensor) -> Float[Tensor, "*point task"]:
            return distances(self.rule(tasks.s2, tasks.n_context, *self._steps(steps), *values))

        sought = [one.times(float(tasks.s2.mean())) for one in self.settings]
        if len(sought) == 1:
            (one,) = sought
            return Fitted(steps, {one.name: fit_log_scale(lambda value: at(value).numpy(), one.low, one.high)})
        first, second = sought
        return Fitted(steps, fit_two(lambda a, b: at(a, b[:, None, None]), first, second))

    def filter(self, s2: Float[Tensor, "task rank"], n_context: int, fitted: Fitted) -> Float[Tensor, "task rank"]:
        """g(s²) of a member."""
        return self.rule(s2, n_context, *self._steps(fitted.steps), *(fitted.value(one.name) for one in self.settings))

    def predict(self, contexts: Contexts, fitted: Fitted) -> Predictions:
        weights = self.weights(contexts, fitted)
        return einsum(weights, contexts.query, "task d_out d_in, task d_in -> task d_out")

    def weights(self, contexts: Contexts, fitted: Fitted) -> Float[Tensor, "task d_out d_in"]:
        tasks = contexts.spectrum
        filtered = self.filter(tasks.s2, tasks.n_context, fitted)[..., None] * tasks.projected_labels
        return einsum(tasks.V, filtered, "task d_in rank, task rank d_out -> task d_out d_in")

    def _steps(self, steps: int) -> tuple[int, ...]:
        return (steps,) if self.tried else ()


def _descent(s2: Tensor, n_context: int, steps: int, learning_rate: float) -> Tensor:
    return Descent(steps)(s2, n_context, learning_rate)


def _least_squares(s2: Tensor, n_context: int) -> Tensor:
    return minimum_norm_filter(s2, n_context, float("nan"))


GRADIENT_DESCENT = Filtered("gd", "gradient descent", "gradient descent", _descent, (RATE,), tried=STEPS)
GRADIENT_FLOW = Filtered("flow", "gradient flow", "gradient flow", flow_filter, (TIME,))
MOMENTUM_DESCENT = Filtered(
    "momentum", "GD with momentum", "gradient descent with momentum", momentum_filter, (MOMENTUM, RATE),
    tried=(2, 3, 4, 6, 8, 16),
)  # fmt: skip
GDPP = Filtered("gdpp", "GD++", "GD++", gdpp_filter, (CURVATURE, RATE), tried=(2, 3, 4, 6, 8))
NEWTON = Filtered(
    "newton", "Newton", "Newton's method", newton_filter, (SCALE,), tried=(1, 2, 3, 4, 5, 6), noun="iteration"
)
RIDGE = Filtered("ridge", "ridge", "ridge regression", ridge_filter, (PENALTY,))
LEAST_SQUARES = Filtered("min_norm", "min-norm least squares", "minimum-norm least squares", _least_squares)
