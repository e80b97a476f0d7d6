"""Spectral filters g(s²): what an algorithm does along one singular direction of its context.

With X = U S V^T the weights that an algorithm learns are W^T = V diag(g(s²) s) U^T Y, where

    ridge with penalty λ                g = 1 / (s² + λ)
    minimum-norm least squares          g = 1 / s²
    k steps of gradient descent from 0  g = (1 - (1 - η s²/N)^k) / s²      on the loss 1/(2N) Σ |W x_i - y_i|²

(L. Lo Gerfo et al., Spectral algorithms for supervised learning, Neural Computation 20, 2008.)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

Filter = Callable[[Float[Tensor, "task rank"], int, float], Float[Tensor, "task rank"]]
"""(s², N, setting) -> g(s²)"""


def ridge_filter(s2: Float[Tensor, "task rank"], n_context: int, penalty: float) -> Float[Tensor, "task rank"]:
    """1 / (s² + λ), for the loss |X w - y|² + λ |w|²."""
    return 1 / (s2 + penalty)


def minimum_norm_filter(s2: Float[Tensor, "task rank"], n_context: int, setting: float) -> Float[Tensor, "task rank"]:
    """1 / s², and 0 below the numerical rank of the context, as `numpy.linalg.lstsq` has it. `setting` is not read."""
    tolerance = (torch.finfo(s2.dtype).eps * max(n_context, s2.shape[-1])) ** 2 * s2.amax(dim=-1, keepdim=True)
    return torch.where(s2 > tolerance, 1 / s2.clamp_min(torch.finfo(s2.dtype).tiny), 0.0)


class GeometricSums:
    """Σ_j<k (1 - η s²/N)^j, finite at s² = 0, where the quotient form is 0/0; each k from half as many terms.

    Sums of one learning rate share their parts.
    """

    def __init__(self, s2: Float[Tensor, "task rank"], n_context: int, learning_rate: float) -> None:
        self.rate = learning_rate / n_context
        self._one = torch.ones((), dtype=s2.dtype)
        self._sums = {1: self._one.expand_as(s2)}
        self._powers = {1: torch.rsub(s2, 1.0, alpha=self.rate)}

    def filter(self, steps: int) -> Float[Tensor, "task rank"]:
        """g of so many steps of gradient descent."""
        return self.rate * self._sum(steps)

    def _sum(self, terms: int) -> Float[Tensor, "task rank"]:
        if terms not in self._sums:
            fewer = self._sum(terms - 1 if terms % 2 else terms // 2)
            times = (self._one, self._powers[1]) if terms % 2 else (fewer, self._power(terms // 2))
            self._sums[terms] = torch.addcmul(times[0], times[1], fewer)
        return self._sums[terms]

    def _power(self, exponent: int) -> Float[Tensor, "task rank"]:
        if exponent not in self._powers:
            square = self._power(exponent // 2).square()
            self._powers[exponent] = square * self._powers[1] if exponent % 2 else square
        return self._powers[exponent]


@dataclass(frozen=True)
class Descent:
    """The filter of so many steps of gradient descent; its setting is the learning rate η."""

    steps: int

    def __call__(
        self, s2: Float[Tensor, "task rank"], n_context: int, learning_rate: float
    ) -> Float[Tensor, "task rank"]:
        return GeometricSums(s2, n_context, learning_rate).filter(self.steps)
