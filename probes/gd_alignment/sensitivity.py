"""Sensitivities: how a prediction changes with the query's input (von Oswald et al. 2023, section 4 and appendix A).

The paper compares two regressors A and B, task by task, through g = d prediction / d x_query:

    prediction difference   |p_A - p_B|_2
    model difference        |g_A - g_B|_2
    cosine                  <g_A, g_B> / (|g_A| |g_B|), then the mean of the tasks' cosines

The authors add 1e-8 to each norm, which is most of the norm of a sensitivity near 0. Here the cosine is exact.

With a linear-attention model g is the weight vector that the model has in effect learned in context. All statistics are
taken in float64. A cosine of 1 says that both point the same way and nothing about their lengths: the norm ratio
|g_A| / |g_B| stands beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from ...models.own.regression_transformer import RegressionTransformer

LOSS = "half squared label"  # the unit of half_squared_error


@dataclass(frozen=True)
class Behaviour:
    """What a regressor answers on a batch of tasks, in float64 on the CPU.

    prediction   [task, d_out]
    sensitivity  [task, d_out, d_in], derivative of each output with respect to the query's x
    missing      why the sensitivities are NaN, where they cannot be had
    """

    prediction: Float[Tensor, "task d_out"]
    sensitivity: Float[Tensor, "task d_out d_in"]
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


def behaviour(
    predict: Callable[[Tensor], Tensor],
    inputs: Float[Tensor, "task token feature"],
    d_in: int,
    batch_size: int,
) -> Behaviour:
    """Predictions and sensitivities of a differentiable regressor, `batch_size` tasks at a time."""
    parts = [_behaviour(predict, part, d_in) for part in inputs.split(batch_size)]
    return Behaviour(torch.cat([p.prediction for p in parts]), torch.cat([p.sensitivity for p in parts]))


def _behaviour(predict: Callable[[Tensor], Tensor], inputs: Tensor, d_in: int) -> Behaviour:
    # only the query's x is a leaf: the y slot and the context stay constants, as in the authors' code
    query = inputs[:, -1:, :d_in].detach().requires_grad_()
    last_token = torch.cat([query, inputs[:, -1:, d_in:]], dim=-1)
    if isinstance(predict, RegressionTransformer):
        prediction = predict.predict_query(inputs[:, :-1], last_token)
    else:
        prediction = predict(torch.cat([inputs[:, :-1], last_token], dim=1))
    # tasks do not see each other, so the gradient of a sum over tasks is each task's own gradient
    outputs = prediction.sum(dim=0)
    gradients = [
        torch.autograd.grad(output, query, retain_graph=True, materialize_grads=True)[0].squeeze(1)
        if output.requires_grad
        else torch.zeros_like(query).squeeze(1)
        for output in outputs
    ]
    return Behaviour(prediction.detach().cpu().double(), torch.stack(gradients, dim=1).cpu().double())


def predictions(
    predict: Callable[[Tensor], Tensor], inputs: Float[Tensor, "task token feature"], batch_size: int
) -> Float[Tensor, "task d_out"]:
    """Predictions alone, in float64 on the CPU."""
    with torch.no_grad():
        return torch.cat([predict(part).cpu().double() for part in inputs.split(batch_size)])


def half_squared_error(
    prediction: Float[Tensor, "*axes d_out"], targets: Float[Tensor, "task d_out"]
) -> Float[Tensor, "*axes"]:
    """The authors' loss per task, 0.5 |y - y_hat|² (the paper's equation 5 leaves out the 0.5; its figures do not)."""
    return 0.5 * (prediction - targets.cpu().double()).square().sum(dim=-1)


def cosine(a: Float[Tensor, "task d_out d_in"], b: Float[Tensor, "task d_out d_in"]) -> Float[Tensor, " task"]:
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
    a: Float[Tensor, "task d_out d_in"], b: Float[Tensor, "task d_out d_in"]
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
