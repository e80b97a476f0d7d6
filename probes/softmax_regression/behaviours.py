"""What a model and every candidate answer on the same tasks: predictions, and how the first one changes with A.

The sensitivity is d prediction_0 / dA with b held fixed, all n d numbers of it. The paper does not say which it takes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from ...data.batch import Batch
from ...models.softmax_regressors import SoftmaxFunction
from ..comparing.behaviour import Behaviour
from ..comparing.memo import once_per_batch
from .exact import first_sensitivity, solved
from .fits import Settings, Smoother
from .formulas import softmax_of
from .names import COPY, EXACT, GAUSS_NEWTON, STEPS, ZERO
from .solvers import Documents, Targets, descent, gauss_newton, smoothing

Scores = Callable[[Tensor, Tensor], Tensor]


def behaviour(predict: SoftmaxFunction, A: Documents, b: Targets, batch_size: int) -> Behaviour:
    """Of any differentiable predictor, `batch_size` tasks at a time."""
    parts = [_behaviour(predict, *part) for part in zip(A.split(batch_size), b.split(batch_size), strict=True)]
    return Behaviour(torch.cat([p.prediction for p in parts]), torch.cat([p.sensitivity for p in parts]))


@torch.enable_grad()
def _behaviour(predict: SoftmaxFunction, A: Documents, b: Targets) -> Behaviour:
    leaf = A.detach().requires_grad_()
    prediction = predict(leaf, b)
    first = prediction[:, 0].sum()  # tasks do not see each other: the gradient of a sum is each task's own
    slope = torch.zeros_like(A)
    if first.requires_grad:
        (slope,) = torch.autograd.grad(first, leaf, materialize_grads=True)
    return Behaviour(prediction.detach().cpu().double(), _as_sensitivity(slope.cpu().double()))


def _as_sensitivity(slope: Float[Tensor, "task token d_in"]) -> Float[Tensor, "task one entry"]:
    return rearrange(slope, "task token d_in -> task 1 (token d_in)")


@once_per_batch
def solver_behaviours(tasks: Batch, settings: Settings, batch_size: int) -> Mapping[str, Behaviour]:
    """Of every candidate that does not depend on the model, in float64."""
    A, b = tasks.inputs, tasks.targets
    found = {name: behaviour(_softmax_of(scores), A, b, batch_size) for name, scores in _scores(settings).items()}
    x = solved(tasks)
    found[EXACT.name] = Behaviour(softmax_of(A, x), _as_sensitivity(first_sensitivity(A, b, x)))
    return found


def smoother_behaviour(tasks: Batch, smoother: Smoother, batch_size: int) -> Behaviour:
    scores = partial(smoothing, sharpness=smoother.sharpness.value, factor=smoother.factor.value)
    return behaviour(_softmax_of(partial(_of_gram, scores)), tasks.inputs, tasks.targets, batch_size)


def _scores(settings: Settings) -> dict[str, Scores]:
    """Of the candidates whose sensitivity is a derivative of their steps."""
    rates = settings.rates
    descents = {name: partial(descent, steps=steps, rate=rates[name].value) for name, steps in STEPS.items()}
    return {
        **{name: partial(_of_gram, scores) for name, scores in descents.items()},
        GAUSS_NEWTON.name: lambda A, b: rates[GAUSS_NEWTON.name].value * gauss_newton(A, b),
        COPY.name: lambda A, b: settings.copy.value * b,
        ZERO.name: lambda A, b: torch.zeros_like(b),
    }


def _of_gram(scores: Scores, A: Documents, b: Targets) -> Targets:
    return scores(A @ A.mT, b)


def _softmax_of(scores: Scores) -> SoftmaxFunction:
    return lambda A, b: scores(A, b).softmax(dim=-1)
