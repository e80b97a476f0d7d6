"""Constructed models of gradient descent and GD++.

Gradient descent on L(W) = 1/(2N) Σ |W x_i - y_i|² (von Oswald et al. 2023, arXiv 2212.07677, proposition 1 and
appendix A.1), row convention:

    W_Q = W_K = diag(1_d, 0),   W_V = [[0, W0^T], [0, -1]],   W_O = diag(0_d, η/N)

adds (η/N) Σ (W0 x_i - y_i) x_i·x_j to the y slot of token j: the context labels become residuals, the query's y slot
becomes -(W x_q), and k layers are k steps. GD++ (appendix A.10) also moves the inputs, x_j <- (I - γ X X^T) x_j.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from ..own.regression_config import RegressionConfig
from ..own.regression_transformer import RegressionTransformer


def gd_transformer(
    n_context: int,
    learning_rate: float,
    d_in: int,
    d_out: int = 1,
    n_layers: int = 1,
    W0: Float[Tensor, "d_out d_in"] | None = None,
    dampening: float = 1.0,
    activation_clip: float | None = None,
    dtype: torch.dtype = torch.float64,
) -> RegressionTransformer:
    """`n_layers` steps of gradient descent with rate η = `learning_rate` from W0 (zero by default).

    η is the rate for the mean loss above, so a step adds (η/N) Σ; the authors report η/N. If W0 is not zero, the
    query's y slot must be -W0 x_q: see `with_start_weights`.
    """
    config = _config(d_in, d_out, n_layers, tied=True, dampening=dampening, activation_clip=activation_clip)
    d = config.d_model
    select_x = torch.diag(torch.tensor([1.0] * d_in + [0.0] * d_out, dtype=dtype))
    W_V = torch.zeros(d, d, dtype=dtype)
    W_V[d_in:, d_in:] = -torch.eye(d_out, dtype=dtype)
    if W0 is not None:
        W_V[:d_in, d_in:] = W0.to(dtype).T
    W_O = (torch.eye(d, dtype=dtype) - select_x) * (learning_rate / n_context)
    stacked = (weight[None, None].clone() for weight in (select_x, select_x, W_V, W_O))
    return RegressionTransformer(config, dict(zip(("W_Q", "W_K", "W_V", "W_O"), stacked, strict=True)))


def gdpp_transformer(
    n_context: int,
    learning_rates: Sequence[float],
    gammas: Sequence[float],
    d_in: int,
    d_out: int = 1,
    n_layers: int = 1,
    tied: bool = True,
    dampening: float = 1.0,
    activation_clip: float | None = None,
    dtype: torch.dtype = torch.float64,
) -> RegressionTransformer:
    """GD++: every layer takes a gradient step and then curves the inputs, x_j <- x_j - γ Σ_i x_i (x_i·x_j).

    learning_rates, gammas: one value each if tied, otherwise one per layer.
    """
    config = _config(d_in, d_out, n_layers, tied, dampening, activation_clip)
    if not len(learning_rates) == len(gammas) == config.n_blocks:
        raise ValueError(
            f"{len(learning_rates)} learning rates and {len(gammas)} gammas; expected {config.n_blocks} of each"
        )
    rates, curvatures = torch.tensor(learning_rates, dtype=dtype), torch.tensor(gammas, dtype=dtype)
    return RegressionTransformer.from_products(config, *gdpp_products(n_context, rates, curvatures, d_in, d_out))


def gdpp_products(
    n_context: int, learning_rates: Float[Tensor, " block"], gammas: Float[Tensor, " block"], d_in: int, d_out: int = 1
) -> tuple[Float[Tensor, "block 1 d_model d_model"], Float[Tensor, "block 1 d_model d_model"]]:
    """KQ = diag(1_d, 0) and PV = diag(-γ 1_d, -η/N), differentiable with respect to both rates."""
    is_x = torch.zeros(d_in + d_out, dtype=gammas.dtype)
    is_x[:d_in] = 1.0
    diagonal_PV = -gammas[:, None] * is_x - (learning_rates / n_context)[:, None] * (1 - is_x)
    KQ = torch.diag(is_x).expand(len(gammas), 1, -1, -1).clone()
    return KQ, torch.diag_embed(diagonal_PV)[:, None]


def with_start_weights(
    inputs: Float[Tensor, "task token feature"], W0: Float[Tensor, "d_out d_in"]
) -> Float[Tensor, "task token feature"]:
    """The same tasks with the query's y slot set to -W0 x_q, as a model constructed with start weights W0 needs."""
    inputs = inputs.clone()
    d_in = W0.shape[1]
    inputs[:, -1, d_in:] = -inputs[:, -1, :d_in] @ W0.T
    return inputs


def _config(
    d_in: int, d_out: int, n_layers: int, tied: bool, dampening: float, activation_clip: float | None
) -> RegressionConfig:
    return RegressionConfig(
        d_in=d_in,
        d_out=d_out,
        n_layers=n_layers,
        tied=tied,
        d_head=d_in + d_out,
        dampening=dampening,
        activation_clip=activation_clip,
    )
