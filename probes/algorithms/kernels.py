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
from math import comb
from typing import ClassVar

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from .algorithm import SETTING_RANGE
from .contexts import Contexts
from .families import Family, Fitted, Predictions
from .several import Free, fit_nested

FITTED_TASKS = 100
"""Tasks that the two settings of a kernel are fitted on: each try of a width takes N² numbers a task."""
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


Solve = Callable[[Tensor, Tensor, float, int], Tensor]
"""(K [task, N, N], Y [task, N, d_out], setting, steps) -> what each label counts with, [task, N, d_out]"""
Everywhere = Callable[[Tensor], Float[Tensor, "point task d_out"]]
"""Several values of the other setting -> answers at each."""
Prepare = Callable[[Tensor, Tensor, Tensor, int], Everywhere]
"""(K, k [task, 1, N], Y, steps) -> the answers of one width, all at next to no cost."""


def descent(
    K: Float[Tensor, "task N N"], Y: Float[Tensor, "task N d_out"], rate: float, steps: int
) -> Float[Tensor, "task N d_out"]:
    """The sum of η times what is left of the labels before each step, as the steps go."""
    left, counted = Y, torch.zeros_like(Y)
    for _ in range(steps):
        counted = counted + rate * left
        left = Y - K @ counted
    return counted


def at_every_rate(K: Tensor, k: Tensor, Y: Tensor, steps: int) -> Everywhere:
    """Of few steps: Σ_j C(T, j+1) (-1)ʲ ηʲ⁺¹ k Kʲ Y, which sums up (1 - (1 - η K)ᵀ) K⁻¹ Y."""
    powers, held = [], Y
    for j in range(steps):
        held = K @ held if j else held
        powers.append(comb(steps, j + 1) * (-1) ** j * (k @ held)[:, 0])
    terms, exponents = torch.stack(powers), torch.arange(1, steps + 1)

    def answers(rates: Float[Tensor, " point"]) -> Float[Tensor, "point task d_out"]:
        return einsum(rates[:, None] ** exponents, terms, "point power, power task d_out -> point task d_out")

    return answers


def ridge(
    K: Float[Tensor, "task N N"], Y: Float[Tensor, "task N d_out"], penalty: float, steps: int
) -> Float[Tensor, "task N d_out"]:
    """(K + λ I)⁻¹ Y, not finite where there is no inverse."""
    return torch.linalg.solve_ex(K + penalty * torch.eye(K.shape[-1], dtype=K.dtype), Y).result


def at_every_penalty(K: Tensor, k: Tensor, Y: Tensor, steps: int) -> Everywhere:
    """By the eigenvectors of K. Not finite where K is not: a narrow exponential kernel overflows."""
    finite = K.isfinite().all(dim=-1).all(dim=-1)[:, None, None]
    values, vectors = torch.linalg.eigh(torch.where(finite, K, 0.0))
    of_labels = torch.where(finite, (k @ vectors).mT * (vectors.mT @ Y), torch.nan)

    def answers(penalties: Float[Tensor, " point"]) -> Float[Tensor, "point task d_out"]:
        inverse = 1 / (values + penalties[:, None, None])
        return einsum(inverse, of_labels, "point task N, task N d_out -> point task d_out")

    return answers


@dataclass(frozen=True)
class OfKernel(Family):
    """A family with a kernel of free width, and another free setting.

    solve:      from the kernel matrix and the labels to what each label counts with
    prepare:    the same for many values of the other setting at once
    other:      the other setting
    per_label:  whether a rate is that of a mean over the context (η/N)
    """

    kernel: Kernel
    solve: Solve
    prepare: Prepare
    other: Free
    per_label: bool = False
    free: ClassVar[int] = 2

    def fit(self, contexts: Contexts, predictions: Predictions, steps: int = 0) -> Fitted:
        few, shown = contexts.first(FITTED_TASKS), predictions.detach()[:FITTED_TASKS]
        unit = float(few.X.square().sum(dim=-1).mean())
        per = few.n_context if self.per_label else 1

        def at(width: float) -> Callable[[Tensor], Float[Tensor, "point task"]]:
            answers = self.prepare(*self._kernels(few, width), few.Y, steps)
            return lambda others: (answers(others / per) - shown).square().sum(dim=-1)

        return Fitted(steps, fit_nested(at, WIDTH.times(unit), self.other))

    def predict(self, contexts: Contexts, fitted: Fitted) -> Predictions:
        K, k = self._kernels(contexts, fitted.value(WIDTH.name))
        setting = fitted.value(self.other.name) / (contexts.n_context if self.per_label else 1)
        return (k @ self.solve(K, contexts.Y, setting, fitted.steps))[:, 0]

    def _kernels(self, contexts: Contexts, width: float) -> tuple[Float[Tensor, "task N N"], Float[Tensor, "task 1 N"]]:
        """Between the inputs of a context, and from the query to them."""
        X, query = contexts.X, contexts.query[:, None]
        return self.kernel(X, X, width), self.kernel(query, X, width)


KERNEL_STEPS = (1, 2, 4)
RBF_DESCENT, EXPONENTIAL_DESCENT, SOFTMAX_DESCENT = (
    OfKernel(
        f"{name}_gd", f"{label} kernel GD", f"gradient descent with the {label} kernel", kernel, descent,
        at_every_rate, RATE, per_label=kernel is not softmax, tried=KERNEL_STEPS,
    )
    for name, label, kernel in (
        ("rbf", "RBF", rbf), ("exponential", "exponential", exponential), ("softmax", "softmax", softmax)
    )
)  # fmt: skip
RBF_RIDGE, EXPONENTIAL_RIDGE = (
    OfKernel(
        f"{name}_ridge", f"{label} kernel ridge", f"ridge regression with the {label} kernel", kernel, ridge,
        at_every_penalty, PENALTY,
    )
    for name, label, kernel in (("rbf", "RBF", rbf), ("exponential", "exponential", exponential))
)  # fmt: skip
