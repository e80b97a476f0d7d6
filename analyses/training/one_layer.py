"""Loss and gradient of one layer of linear self-attention, in closed form.

With A = KQ^T and B = -dampening * PV[:, y]^T of each head (see `models.own.merged`), context tokens c_i and query q,

    u = A q,   s_i = c_i · u,   v_i = B c_i,   y_hat = Σ_heads Σ_i s_i v_i     (the query's y slots hold 0)

The loss is half the squared error e = y_hat - target, a mean over tasks. So its gradients are means over tasks of

    dB = Σ_i e s_i c_i^T,   du = Σ_i (v_i · e) c_i,   dA = du q^T

and dA and dB give those of a head's four matrices. The context is read four times, and with few heads nothing of its
size is written. Sums within each task are NumPy's `einsum`, which needs no copies for them. Products with one
matrix for all tasks are torch's, because torch's threads can be set.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from jaxtyping import Float

from ...models.own.merged import can_merge
from ...models.own.regression_config import RegressionConfig
from ...models.own.regression_transformer import ROLES

Matrices = Mapping[str, Float[np.ndarray, "head _ _"]]
"""W_Q, W_K, W_V [head, d_model, d_head], W_O [head, d_head, d_model]."""


def has_closed_form(config: RegressionConfig) -> bool:
    """Whether `loss_and_gradient` is of this model: one layer that merges and does not clip."""
    return config.n_layers == 1 and config.activation_clip is None and can_merge(config)


def loss_and_gradient(
    config: RegressionConfig,
    weights: Matrices,
    gradient: Matrices,
    tokens: Float[np.ndarray, "feature token task"],
    targets: Float[np.ndarray, "d_out task"],
) -> float:
    """Half the squared error, a mean over tasks. Its gradient by each weight is written into `gradient`.

    tokens: stored in the order of its dimensions, the query last; its y slots hold 0
    """
    W_Q, W_K, W_V, W_O = (weights[role] for role in ROLES)
    into_y = W_O[:, :, config.d_in :]  # what is written into x never reaches the prediction
    A, B = W_K @ W_Q.mT, into_y.mT @ W_V.mT
    B *= -config.dampening
    context, query, n = tokens[:, :-1], tokens[:, -1], tokens.shape[2]
    columns = context.reshape(config.d_model, -1)  # one for each token of each task

    scores = np.einsum("fit,hft->hit", context, _product(A, query))
    values = _product(B, columns).reshape(config.n_heads, config.d_out, *scores.shape[1:])
    error = np.einsum("hit,hyit->yt", scores, values)
    error -= targets

    d_scores = np.einsum("hyit,yt->hit", values, error)
    d_A = _product(np.einsum("fit,hit->hft", context, d_scores), query.T)
    d_A /= n
    d_values = np.einsum("hit,yt->hyit", scores, error)
    d_B = _product(d_values.reshape(config.n_heads, config.d_out, -1), columns.T)
    d_B *= -config.dampening / n
    np.matmul(d_A.mT, W_K, out=gradient["W_Q"])
    np.matmul(d_A, W_Q, out=gradient["W_K"])
    np.matmul(d_B.mT, into_y.mT, out=gradient["W_V"])
    gradient["W_O"][:, :, config.d_in :] = (d_B @ W_V).mT
    gradient["W_O"][:, :, : config.d_in] = 0.0
    return float(np.square(error).sum()) / (2 * n)


def _product(
    stack: Float[np.ndarray, "*stacked i j"], b: Float[np.ndarray, "j k"]
) -> Float[np.ndarray, "*stacked i k"]:
    """All matrices of a stack times one, as one product."""
    rows = stack.reshape(-1, stack.shape[-1])
    return torch.mm(torch.from_numpy(rows), torch.from_numpy(b)).numpy().reshape(*stack.shape[:-1], -1)
