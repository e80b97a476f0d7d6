"""Whether a predictor's gradient is that of its answers; and sensitivities without a gradient.

A function that computes inside `torch.no_grad()`, in NumPy or in JAX has no gradient, and autograd then says 0, which
is also what it says of a constant. Central differences of the answers tell the two apart.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from ..comparing.behaviour import Behaviour
from .sensitivity import behaviour, predictions

DIFFERS = 0.2
"""Relative distance between a task's gradient and its differences. Rounding in bfloat16 makes .05; no gradient, 1."""
SOME = 0.25
"""Of the tasks may differ: a function with kinks or jumps may have one near a query."""
NO_GRADIENT = "no gradient of the predictor reaches the query's x (computed in torch.no_grad, NumPy or JAX?)"
WRONG_GRADIENT = "the predictor's gradient is not that of its answers (a part of it is detached?)"


def no_sensitivities(
    predict: Callable[[Tensor], Tensor], inputs: Float[Tensor, "task token feature"], d_in: int
) -> str:
    """Why a predictor's gradients are no sensitivities; empty where they are, zeros of a constant included."""
    try:
        gradient = behaviour(predict, inputs, d_in, len(inputs)).sensitivity.flatten(1)
    except RuntimeError:  # `.numpy()` of what asks for a gradient; without one the function has answered before
        return NO_GRADIENT
    differences = finite_differences(predict, inputs, d_in, len(inputs)).sensitivity.flatten(1)
    largest = torch.maximum(gradient.norm(dim=1), differences.norm(dim=1))
    differing = (gradient - differences).norm(dim=1) > DIFFERS * largest
    if differing.double().mean() <= SOME:
        return ""
    return WRONG_GRADIENT if gradient.any() else NO_GRADIENT


def finite_differences(
    predict: Callable[[Tensor], Tensor],
    inputs: Float[Tensor, "task token feature"],
    d_in: int,
    batch_size: int,
) -> Behaviour:
    """Predictions, and sensitivities as central differences: 2 d_in more forward passes.

    The step is the cube root of the precision, times the size of the inputs: there the errors of rounding and of
    curvature are alike.
    """
    scale = inputs[..., :d_in].abs().max().clamp_min(torch.finfo(inputs.dtype).tiny)
    step = torch.finfo(inputs.dtype).eps ** (1 / 3) * scale
    columns = []
    for i in range(d_in):
        forward, backward = inputs.clone(), inputs.clone()
        forward[:, -1, i] += step
        backward[:, -1, i] -= step
        taken = (forward[:, -1, i] - backward[:, -1, i]).cpu().double()  # as rounded
        difference = predictions(predict, forward, batch_size) - predictions(predict, backward, batch_size)
        columns.append(difference / taken[:, None])
    return Behaviour(predictions(predict, inputs, batch_size), torch.stack(columns, dim=-1))


def without_sensitivities(
    predict: Callable[[Tensor], Tensor],
    inputs: Float[Tensor, "task token feature"],
    d_in: int,
    batch_size: int,
    reason: str,
) -> Behaviour:
    """Predictions, and why there is nothing else."""
    prediction = predictions(predict, inputs, batch_size)
    nothing = torch.full((*prediction.shape, d_in), torch.nan, dtype=torch.float64)
    return Behaviour(prediction, nothing, reason)
