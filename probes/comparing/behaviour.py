"""What two models answer, compared task by task (von Oswald et al. 2023, section 4 and appendix A).

With predictions p and sensitivities g, the derivatives of p with respect to an input, of models A and B:

    prediction difference   |p_A - p_B|_2
    model difference        |g_A - g_B|_2
    cosine                  <g_A, g_B> / (|g_A| |g_B|), then the mean of the tasks' cosines

The authors add 1e-8 to each norm, which is most of the norm of a sensitivity near 0. Here the cosine is exact. A cosine
of 1 says that both point the same way and nothing about their lengths: the norm ratio |g_A| / |g_B| stands beside it.
All statistics are taken in float64.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Behaviour:
    """What a regressor answers on a batch of tasks, in float64 on the CPU.

    prediction   [task, d_out]
    sensitivity  [task, output, entry], derivatives of outputs with respect to the entries of an input
    missing      why the sensitivities are NaN, where they cannot be had
    """

    prediction: Float[Tensor, "task d_out"]
    sensitivity: Float[Tensor, "task output entry"]
    missing: str = ""

    def turned(self, sign: int) -> Behaviour:
        """That of the negative of the regressor, where the sign is -1."""
        return self if sign > 0 else Behaviour(-self.prediction, -self.sensitivity, self.missing)

    @cached_property
    def direction(self) -> Float[Tensor, "task entry"]:
        """The sensitivity's direction, of length 1: kept, because one candidate is compared with many models."""
        return _direction(self.sensitivity.flatten(1))

    @cached_property
    def length(self) -> Float[Tensor, " task"]:
        """The sensitivity's norm; kept likewise."""
        return self.sensitivity.flatten(1).norm(dim=1)


@dataclass(frozen=True)
class Compared:
    """A model beside its candidates, by name, on the same tasks."""

    model: Behaviour
    candidates: Mapping[str, Behaviour]
    targets: Float[Tensor, "task d_out"]


def half_squared_error(
    prediction: Float[Tensor, "*axes d_out"], targets: Float[Tensor, "task d_out"]
) -> Float[Tensor, "*axes"]:
    """The authors' loss per task, 0.5 |y - y_hat|² (the paper's equation 5 leaves out the 0.5; its figures do not)."""
    return 0.5 * (prediction - targets.cpu().double()).square().sum(dim=-1)


def cosine(a: Float[Tensor, "task output entry"], b: Float[Tensor, "task output entry"]) -> Float[Tensor, " task"]:
    """Cosine of two sensitivities, task by task; 0 where one of them is zero (as with the authors)."""
    return _inner(_direction(a.flatten(1)), _direction(b.flatten(1)))


def _inner(a: Float[Tensor, "task entry"], b: Float[Tensor, "task entry"]) -> Float[Tensor, " task"]:
    return (a * b).sum(dim=1)


def _direction(vectors: Float[Tensor, "task entry"]) -> Float[Tensor, "task entry"]:
    """Of length 1, at any scale: squares of entries below 1e-162 or above 1e154 are no float64; 0 stays 0."""
    largest = vectors.abs().amax(dim=1, keepdim=True)
    scaled = vectors / torch.where(largest > 0, largest, 1.0)
    return scaled / scaled.norm(dim=1, keepdim=True).clamp_min(1.0)  # one entry is ±1, so only 0 is shorter


def cosines(a: Behaviour, b: Behaviour) -> Float[Tensor, " task"]:
    """`cosine` of the sensitivities of two regressors."""
    return _inner(a.direction, b.direction)


def model_difference(
    a: Float[Tensor, "task output entry"], b: Float[Tensor, "task output entry"]
) -> Float[Tensor, " task"]:
    """|g_A - g_B|_2, task by task."""
    return (a - b).flatten(1).norm(dim=1)


def prediction_difference(a: Float[Tensor, "task d_out"], b: Float[Tensor, "task d_out"]) -> Float[Tensor, " task"]:
    """|p_A - p_B|_2, task by task."""
    return (a - b).norm(dim=1)


def agreement(a: Behaviour, b: Behaviour) -> dict[str, Float[Tensor, " task"]]:
    """All four comparisons of A with B, by the name under which a report lists them."""
    return {
        "cosine": cosines(a, b),
        "norm_ratio": a.length / b.length,  # infinite or NaN where B's sensitivity is zero
        "model_difference": model_difference(a.sensitivity, b.sensitivity),
        "prediction_difference": prediction_difference(a.prediction, b.prediction),
    }
