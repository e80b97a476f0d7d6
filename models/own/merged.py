"""The linear-attention transformer with its weights multiplied out, which makes asking it cheaper.

Without softmax and layer norm a head acts through two products of its weights, KQ = W_Q W_K^T and PV = W_V W_O, and
only the query token's y slot leaves the last layer. For context tokens c_i and query token q one layer is

    y_hat = -(q_y + dampening * Σ_heads Σ_i (q KQ · c_i) (c_i · PV[:, y]))

so the last layer forms one score and one value for each context token, and no query, key or value vectors. Earlier
layers move every token, through the products; there, and only there, a causal mask changes something. Equal to
`RegressionTransformer.forward` up to rounding, gradients included; a leading dimension runs several models at once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from itertools import product

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from ..attention import causal_linear_attention, linear_attention
from .regression_config import RegressionConfig
from .regression_transformer import ROLES, RegressionTransformer

Stack = Float[Tensor, "model block head d_model d_model"]
Tokens = Float[Tensor, "task token feature"]


def can_merge(config: RegressionConfig) -> bool:
    """Whether the prediction depends on the weights only through KQ and PV: no softmax, layer norm or query key."""
    return config.merges


def merged(module: RegressionTransformer) -> Callable[[Tokens], Float[Tensor, "task d_out"]]:
    """The transformer's predictions up to rounding, with its weights multiplied out where that is the same model.

    Several layers in float32 stay as they are: where a model diverges, layer by layer, rounding grows along.
    """
    config = module.config
    if not _merges(config, module.W_Q.dtype) or (config.n_layers > 1 and module.W_Q.dtype == torch.float32):
        return module
    KQ, PV = module.W_Q @ module.W_K.mT, module.W_V @ module.W_O

    def predict(inputs: Tokens) -> Float[Tensor, "task d_out"]:
        if config.n_layers == 1:
            inputs = inputs.movedim(0, -1).contiguous().movedim(-1, 0)
        return _predict_products(config, KQ[None], PV[None], inputs[None])[0]

    return predict


def _merges(config: RegressionConfig, dtype: torch.dtype) -> bool:
    """Not in half precision, in which products of weights are too coarse."""
    return can_merge(config) and dtype in (torch.float32, torch.float64)


def merged_readouts(module: RegressionTransformer, inputs: Tokens) -> Float[Tensor, "layer task d_out"]:
    """`predict_layers` up to rounding; fast where layers write to the y slots only (`target_only`).

    Without a mask a layer reads of the context nothing but M = Σ_i c_i c_i^T, and with
    E = dampening * Σ_heads KQ M PV[:, y] it adds c E to the y slots of each token c. So M becomes (I + E)^T M (I + E),
    in which only the rows and columns of y are new, and no token has to be moved. In float64, because small y entries
    of M are what large ones leave. Tasks come last in memory.
    """
    config = module.config
    by_moments = config.target_only and config.activation_clip is None and not config.order_matters
    if not (by_moments and _merges(config, module.W_Q.dtype)):
        return module.predict_layers(inputs)
    W_Q, W_K, W_V, W_O = (module.get_parameter(role).double() for role in ROLES)
    KQ, PV, inputs = W_Q @ W_K.mT, W_V @ W_O, inputs.double()
    context, query = inputs[:, :-1], inputs[:, -1].T.clone()
    M, x, y = _moments(context), slice(config.d_in), slice(config.d_in, None)
    readouts = []
    for layer in range(config.n_layers):
        block = 0 if config.tied else layer
        held = rearrange(PV[block, :, :, y], "head j y -> (head y) j") @ M
        held = rearrange(held, "i (head y) task -> head i (y task)", head=config.n_heads)
        E = config.dampening * (KQ[block] @ held).sum(dim=0).unflatten(1, (config.d_out, -1))  # [i, y, task]
        query[y] += (query[:, None] * E).sum(dim=0)
        columns = M[:, y] + (M[:, :, None] * E).sum(dim=1)
        M[:, y], M[y, x] = columns, columns[x].transpose(0, 1)
        M[y, y] += (E[:, :, None] * columns[:, None]).sum(dim=0)
        readouts.append(-query[y].T.to(module.W_Q.dtype))  # infinite where the transformer overflows
    return torch.stack(readouts)


def _moments(context: Float[Tensor, "task token d_model"]) -> Float[Tensor, "d_model d_model task"]:
    """Σ_i c_i c_i^T of every task."""
    return rearrange(context.mT @ context, "task i j -> i j task").contiguous()


def predict_stack(config: RegressionConfig, KQ: Stack, PV: Stack, inputs: Tokens) -> Float[Tensor, "model task d_out"]:
    """Predictions of several models for the same tasks, up to rounding those of `from_products(config, KQ, PV)`.

    What does not merge is computed as written.
    """
    config = replace(config, n_heads=KQ.shape[2], d_head=config.d_model)
    if not _merges(config, KQ.dtype):
        models = (RegressionTransformer.from_products(config, *pair) for pair in zip(KQ, PV, strict=True))
        return torch.stack([model(inputs) for model in models])
    if config.n_layers == 1:
        return _one_layer(config, KQ[:, 0], PV[:, 0], inputs)
    tasks = inputs[None]
    return torch.cat([_predict_products(config, KQ[i, None], PV[i, None], tasks) for i in range(len(KQ))])


def _one_layer(
    config: RegressionConfig,
    KQ: Float[Tensor, "model head d_model d_model"],
    PV: Float[Tensor, "model head d_model d_model"],
    inputs: Tokens,
) -> Float[Tensor, "model task d_out"]:
    """-(q_y + dampening * Σ_heads q KQ M PV[:, y]), where M = Σ_i c_i c_i^T is all that one layer reads of a context.

    M serves all models. Tasks come last in memory, so that every sum runs over long rows.
    """
    context, query = inputs[:, :-1], inputs[:, -1].T.contiguous()
    into_y = rearrange(PV[..., config.d_in :], "model head j y -> (model head y) j")
    held = (into_y @ _moments(context)).unflatten(1, (len(PV), -1, config.d_out))  # [i, model, head, y, task]
    asked = (KQ.mT @ query)[..., None, :]  # [model, head, i, 1, task]
    update = torch.zeros_like(held[0, :, 0])
    for head, i in product(range(config.n_heads), range(config.d_model)):
        update.addcmul_(asked[:, head, i], held[i, :, head])
    y = rearrange(query[config.d_in :] + config.dampening * update, "model y task -> model task y")
    return -_clip(config, y)


def _predict_products(
    config: RegressionConfig, KQ: Stack, PV: Stack, inputs: Float[Tensor, "model task token feature"]
) -> Float[Tensor, "model task d_out"]:
    h = inputs
    for layer in range(config.n_layers - 1):
        block = 0 if config.tied else layer
        h = _layer(config, h, KQ[:, block], PV[:, block])
    return -_last_layer(config, h, KQ[:, -1], PV[:, -1])


def _layer(
    config: RegressionConfig,
    h: Float[Tensor, "seed task token d_model"],
    KQ: Float[Tensor, "seed head d_model d_model"],
    PV: Float[Tensor, "seed head d_model d_model"],
) -> Float[Tensor, "seed task token d_model"]:
    """Every token after one layer."""
    if config.target_only:
        PV = torch.cat([torch.zeros_like(PV[..., : config.d_in]), PV[..., config.d_in :]], dim=-1)
    h = h.contiguous()
    context = h[:, :, :-1].contiguous()
    moved, attend = h, causal_linear_attention if config.causal else linear_attention
    for head in range(config.n_heads):
        q = h.flatten(1, 2) @ KQ[:, head]
        v = context.flatten(1, 2) @ PV[:, head]
        update = attend(q.view_as(h), context, v.view_as(context))
        moved = torch.add(moved, update, alpha=config.dampening)
    h = _clip(config, moved)
    if h.requires_grad:
        # like h itself, its gradient must lie in the order of its dimensions, or every task becomes a call of its own
        h.register_hook(Tensor.contiguous)
    return h


def _last_layer(
    config: RegressionConfig,
    h: Float[Tensor, "seed task token d_model"],
    KQ: Float[Tensor, "seed head d_model d_model"],
    PV: Float[Tensor, "seed head d_model d_model"],
) -> Float[Tensor, "seed task d_out"]:
    """The query's y slots after the last layer. Tasks come last in memory, so that every sum runs over long rows."""
    columns = rearrange(h, "seed task token d -> seed token d task")
    context, query = columns[:, :-1], columns[:, -1]
    y = query[:, config.d_in :]
    for head in range(config.n_heads):
        scores = (context * (KQ[:, head].mT @ query)[:, None]).sum(dim=2, keepdim=True)
        values = PV[:, None, head, :, config.d_in :].mT @ context
        y = y + config.dampening * (scores * values).sum(dim=1)
    return _clip(config, rearrange(y, "seed d_out task -> seed task d_out"))


def _clip(config: RegressionConfig, h: Tensor) -> Tensor:
    return h if config.activation_clip is None else h.clamp(-config.activation_clip, config.activation_clip)
