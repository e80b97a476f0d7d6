"""Softmax heads that take a step of gradient descent where their scores are small.

For keys x_i, values y_i and a query x, softmax over N tokens of the scores β x·x_i is, with means over the context,

    Σ_i softmax_i y_i = mean(y) + β/N Σ_i y_i (x_i - mean(x))·x + O(β²)

so one head with values (η/β) y writes a step of gradient descent on centred inputs, plus (η/β) mean(y), which it cannot
lose; of tasks whose labels have mean 0 that is nothing. Two heads at +β and -β with opposite values lose it, and all
terms of even order: what is left is the step and O(β²). So softmax needs two heads where linear attention needs one
(von Oswald et al. 2023, arXiv 2212.07677, appendix A.9).
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ..own.regression_config import RegressionConfig
from ..own.regression_transformer import RegressionTransformer


def softmax_transformer(learning_rate: float, beta: float, d_in: int, two_heads: bool = True) -> RegressionTransformer:
    """One layer whose prediction is a step of gradient descent from 0, on inputs minus their mean, up to O(β²) with two
    heads; with one up to O(β), and up to (η/β) mean(y).

    learning_rate:  η, of the mean loss over the context; as for `gd_transformer`
    """
    if beta <= 0:
        raise ValueError(f"beta = {beta}; expected a number above 0")
    signs = torch.tensor([1.0, -1.0] if two_heads else [1.0], dtype=torch.float64)
    config = RegressionConfig(d_in=d_in, d_head=d_in + 1, n_heads=len(signs), softmax=True)
    x, y = torch.eye(d_in + 1, dtype=torch.float64), torch.zeros(d_in + 1, d_in + 1, dtype=torch.float64)
    x[d_in, d_in], y[d_in, d_in] = 0.0, 1.0
    scale = config.d_head**0.5  # softmax attention divides scores by it
    each = signs[:, None, None]
    return RegressionTransformer(
        config,
        {
            "W_Q": (each * beta * scale * x)[None],
            "W_K": x.expand(1, len(signs), -1, -1).clone(),
            "W_V": y.expand(1, len(signs), -1, -1).clone(),
            "W_O": (each * -learning_rate / (beta * len(signs)) * y)[None],
        },
    )


def centred_step(inputs: Float[Tensor, "task token feature"], learning_rate: float, d_in: int) -> Float[Tensor, "task"]:
    """What one step of gradient descent from 0 on inputs minus their mean predicts: η/N Σ_i y_i (x_i - mean(x))·x."""
    x, y, query = inputs[:, :-1, :d_in], inputs[:, :-1, d_in], inputs[:, -1, :d_in]
    centred = x - x.mean(dim=1, keepdim=True)
    return learning_rate * (y * (centred @ query[..., None])[..., 0]).mean(dim=1)
