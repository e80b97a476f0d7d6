"""Means over all tasks of a small law, without a draw: Gauss's quadrature, with a few values for each random number.

With p values a polynomial of degree 2p - 1 in each random number has its exact mean. The squared error of a layer of
linear attention has degree 4 in every entry of an input or a teacher, and in all noise: 3 values are enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

Shape = Literal["normal", "uniform"]


def every_value(count: int, points: int, shape: Shape) -> tuple[Float[Tensor, "task number"], Float[Tensor, " task"]]:
    """Every combination of values of so many numbers of mean 0 and variance 1, with its probability."""
    values, weights = _RULES[shape](points)
    scale = 3**0.5 if shape == "uniform" else 1.0
    grid = torch.from_numpy(scale * values)
    shares = torch.from_numpy(weights / weights.sum())
    numbers, factors = (torch.cartesian_prod(*[held] * count).reshape(-1, count) for held in (grid, shares))
    return numbers, factors.prod(dim=1)


@dataclass(frozen=True)
class EveryTask:
    """Tasks of two inputs and two labelled pairs, as many as a mean over all tasks needs.

    inputs   [task, 3, 3]  tokens
    teacher  [task, 2]     w
    target   [task, 1]     w·x_q
    weight   [task]        the probability of each
    """

    inputs: Float[Tensor, "task token feature"]
    teacher: Float[Tensor, "task d_in"]
    target: Float[Tensor, "task one"]
    weight: Float[Tensor, " task"]

    @classmethod
    def of(cls, root: Float[Tensor, "2 2"], noise: float, teachers: float, shape: Shape) -> EveryTask:
        """x = root z, w = teachers v, and noise of this standard deviation on the labels of the context."""
        z, of_inputs = every_value(6, 3, shape)
        other, of_other = every_value(4, 3, "normal")
        first, second = torch.cartesian_prod(torch.arange(len(z)), torch.arange(len(other))).T
        x, w = z[first].unflatten(1, (3, 2)) @ root.mT, teachers * other[second, :2]
        y = (x @ w[..., None])[..., 0]
        target = y[:, 2:].clone()
        y[:, :2] += noise * other[second, 2:]
        y[:, 2] = 0
        return cls(torch.cat([x, y[..., None]], dim=2), w, target, of_inputs[first] * of_other[second])

    def mean(self, values: Float[Tensor, "task *axes"]) -> Float[Tensor, "*axes"]:
        return torch.tensordot(self.weight, values, dims=1)

    @property
    def correlation(self) -> Float[Tensor, "task d_in"]:
        """X^T y of every context."""
        context = self.inputs[:, :2]
        return (context[..., :2].mT @ context[..., 2:])[..., 0]


_RULES = {"normal": np.polynomial.hermite_e.hermegauss, "uniform": np.polynomial.legendre.leggauss}
