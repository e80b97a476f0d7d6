"""Spectral filters g(s²): what an algorithm does along one singular direction of its context.

With X = U S V^T the weights that an algorithm learns are W^T = V diag(g(s²) s) U^T Y, where

    ridge with penalty λ                g = 1 / (s² + λ)
    minimum-norm least squares          g = 1 / s²
    k steps of gradient descent from 0  g = (1 - (1 - η s²/N)^k) / s²      on the loss 1/(2N) Σ |W x_i - y_i|²

(L. Lo Gerfo et al., Spectral algorithms for supervised learning, Neural Computation 20, 2008.)
"""

from __future__ import annotations

from collections.abc import Callable

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


def gradient_descent_filter(steps: int) -> Filter:
    """The filter of so many steps of gradient descent; its setting is the learning rate η."""

    def g(s2: Float[Tensor, "task rank"], n_context: int, learning_rate: float) -> Float[Tensor, "task rank"]:
        # the geometric sum (η/N) Σ_j (1 - η s²/N)^j: finite at s² = 0, where the quotient form is 0/0
        decay = 1 - learning_rate / n_context * s2
        total, power = torch.ones_like(s2), decay
        for bit in f"{steps:b}"[1:]:  # twice as many terms, and one more where the binary digit is 1
            total, power = total * (1 + power), power.square()
            if bit == "1":
                total, power = 1 + decay * total, decay * power
        return learning_rate / n_context * total

    return g
