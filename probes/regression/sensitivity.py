"""Sensitivities: how a prediction changes with the query's input, g = d prediction / d x_query.

With a linear-attention model g is the weight vector that the model has in effect learned in context.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from ...models.own.regression_transformer import RegressionTransformer
from ..comparing.agreement_samples import Words
from ..comparing.behaviour import Behaviour

LOSS = "half squared label"  # the unit of half_squared_error
WORDS = Words(
    units={
        "loss": LOSS,
        "loss_difference": LOSS,
        "cosine": "cosine",
        "norm_ratio": "ratio",
        "model_difference": "label / input",
        "prediction_difference": "label",
    },
    insensitive="does not look at the query: its sensitivity is zero",
)


def behaviour(
    predict: Callable[[Tensor], Tensor],
    inputs: Float[Tensor, "task token feature"],
    d_in: int,
    batch_size: int,
) -> Behaviour:
    """Predictions and sensitivities of a differentiable regressor, `batch_size` tasks at a time."""
    parts = [_behaviour(predict, part, d_in) for part in inputs.split(batch_size)]
    return Behaviour(torch.cat([p.prediction for p in parts]), torch.cat([p.sensitivity for p in parts]))


def behaviours_by_layer(
    module: RegressionTransformer, inputs: Float[Tensor, "task token feature"], batch_size: int
) -> tuple[Behaviour, ...]:
    """The same of the read-out after each layer."""
    d_in, n_layers = module.config.d_in, module.config.n_layers

    def readouts(context: Tensor, query: Tensor) -> Tensor:
        return rearrange(module.query_readouts(context, query), "layer task d_out -> task (layer d_out)")

    parts = [_of_query(readouts, part, d_in) for part in inputs.split(batch_size)]
    prediction = torch.cat([p.prediction for p in parts]).chunk(n_layers, dim=1)
    sensitivity = torch.cat([p.sensitivity for p in parts]).chunk(n_layers, dim=1)
    return tuple(map(Behaviour, prediction, sensitivity))


def _behaviour(predict: Callable[[Tensor], Tensor], inputs: Tensor, d_in: int) -> Behaviour:
    if isinstance(predict, RegressionTransformer):
        return _of_query(predict.predict_query, inputs, d_in)
    return _of_query(lambda context, query: predict(torch.cat([context, query], dim=1)), inputs, d_in)


def _of_query(answer: Callable[[Tensor, Tensor], Tensor], inputs: Tensor, d_in: int) -> Behaviour:
    """answer: (context, query token) -> [task, output]"""
    # only the query's x is a leaf: the y slot and the context stay constants, as in the authors' code
    query = inputs[:, -1:, :d_in].detach().requires_grad_()
    prediction = answer(inputs[:, :-1], torch.cat([query, inputs[:, -1:, d_in:]], dim=-1))
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
