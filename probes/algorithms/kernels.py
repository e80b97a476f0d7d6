"""Kernel regression: functional gradient descent, ridge regression, and what softmax attention does by itself.

    RBF          K(x, x') = exp(-|x - x'|² / 2h)
    exponential  K(x, x') = exp(x·x' / h)
    softmax      K(x, x_i) = exp(x·x_i / h) / Σ_j exp(x·x_j / h), normalised over the context

T steps of functional gradient descent (Cheng et al. 2023, arXiv 2312.06528):
f <- f + (η/N) Σ_i (y_i - f(x_i)) K(x_i, ·); with the softmax kernel, whose rows sum to 1 already, without the 1/N.
With a linear kernel they are gradient descent and ridge regression, which have names of their own.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from .algorithm import SETTING_RANGE
from .contexts import Contexts
from .families import Family, Fitted, Predictions
from .several import Free, fit_two

FITTED_TASKS = 300
"""Tasks that kernels are fitted on: each try of a width takes N² numbers a task."""
WIDTH = Free("width", 1e-2, 1e4, points=13, power=1)
"""h, its range in units of the mean squared length of the inputs."""
RATE = Free("learning rate", 1e-4, 1e4, points=13)
PENALTY = Free("penalty", *SETTING_RANGE, points=13)
Kernel = Callable[[Tensor, Tensor, float], Tensor]
"""([task, a, d], [task, b, d], h) -> [task, a, b]"""


def rbf(a: Float[Tensor, "task a d"], b: Float[Tensor, "task b d"], h: float) -> Float[Tensor, "task a b"]:
    squares = a.square().sum(dim=-1)[:, :, None] + b.square().sum(dim=-1)[:, None, :] - 2 * a @ b.mT
    return torch.exp(-squares / (2 * h))


def exponential(a: Float[Tensor, "task a d"], b: Float[Tensor, "task b d"], h: float) -> Float[Tensor, "task a b"]:
    return torch.exp(a @ b.mT / h)


def softmax(a: Float[Tensor, "task a d"], b: Float[Tensor, "task b d"], h: float) -> Float[Tensor, "task a b"]:
    return torch.softmax(a @ b.mT / h, dim=-1)


Solve = Callable[[Tensor, Tensor, float | Tensor, int], Tensor]
"""(K [task, N, N], Y [task, N, d_out], setting or several, steps) -> what each label counts with, [task, N, d_out]"""


def descent(
    K: Float[Tensor, "task N N"], Y: Float[Tensor, "task N d_out"], rate: float | Tensor, steps: int
) -> Float[Tensor, "*point task N d_out"]:
    """The sum of η times what is left of the labels before each step, as the steps go."""
    left, counted = Y, torch.zeros_like(Y)
    for _ in range(steps):
        counted = counted + rate * left
        left = Y - K @ counted
    return counted


def ridge(
    K: Float[Tensor, "task N N"], Y: Float[Tensor, "task N d_out"], penalty: float | Tensor, steps: int
) -> Float[Tensor, "*point task N d_out"]:
    """(K + λ I)⁻¹ Y, not finite where there is no inverse."""
    return torch.linalg.solve_ex(K + penalty * torch.eye(K.shape[-1], dtype=K.dtype), Y).result


@dataclass(frozen=True)
class OfKernel(Family):
    """A family with a kernel of free width, and another free setting.

    solve:      from the kernel matrix and the labels to what each label counts with
    other:      the other setting
    per_label:  whether a rate is that of a mean over the context (η/N)
    """

    kernel: Kernel
    solve: Solve
    other: Free
    per_label: bool = False
    free: ClassVar[int] = 2

    def fit(self, contexts: Contexts, predictions: Predictions, steps: int = 0) -> Fitted:
        few = contexts.first(FITTED_TASKS)
        shown, unit = predictions.detach()[:FITTED_TASKS], float(few.X.square().sum(dim=-1).mean())

        def distances(width: float, others: Float[Tensor, " point"]) -> Float[Tensor, "point task"]:
            answers = self._answers(few, width, others[:, None, None, None], steps)
            return (answers - shown).square().sum(dim=-1)

        return Fitted(steps, fit_two(distances, WIDTH.times(unit), self.other))

    def predict(self, contexts: Contexts, fitted: Fitted) -> Predictions:
        return self._answers(contexts, fitted.value(WIDTH.name), fitted.value(self.other.name), fitted.steps)

    def _answers(
        self, contexts: Contexts, width: float, other: float | Tensor, steps: int
    ) -> Float[Tensor, "*point task d_out"]:
        X, query = contexts.X, contexts.query[:, None]
        setting = other / contexts.n_context if self.per_label else other
        counted = self.solve(self.kernel(X, X, width), contexts.Y, setting, steps)
        return einsum(self.kernel(query, X, width), counted, "task one N, ... task N d_out -> ... task d_out")


KERNEL_STEPS = (1, 2, 4)
RBF_DESCENT, EXPONENTIAL_DESCENT, SOFTMAX_DESCENT = (
    OfKernel(
        f"{name}_gd", f"{label} kernel GD", f"gradient descent with the {label} kernel", kernel, descent, RATE,
        per_label=kernel is not softmax, tried=KERNEL_STEPS,
    )
    for name, label, kernel in (
        ("rbf", "RBF", rbf), ("exponential", "exponential", exponential), ("softmax", "softmax", softmax)
    )
)  # fmt: skip
RBF_RIDGE, EXPONENTIAL_RIDGE = (
    OfKernel(
        f"{name}_ridge", f"{label} kernel ridge", f"ridge regression with the {label} kernel", kernel, ridge, PENALTY
    )
    for name, label, kernel in (("rbf", "RBF", rbf), ("exponential", "exponential", exponential))
)
