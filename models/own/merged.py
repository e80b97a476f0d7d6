"""The linear-attention transformer with its weights multiplied out, which makes training cheaper.

Without softmax and layer norm a head acts through two products of its weights, KQ = W_Q W_K^T and PV = W_V W_O, and
only the query token's y slot leaves the last layer. For context tokens c_i and query token q one layer is

    y_hat = -(q_y + dampening * Σ_heads Σ_i (q KQ · c_i) (c_i · PV[:, y]))

so the last layer forms one score and one value for each context token, and no query, key or value vectors. Earlier
layers move every token, through the products. Equal to `RegressionTransformer.forward` up to rounding, gradients
included; a leading dimension runs several seeds at once.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor
from torch.func import functional_call, vmap

from ..attention import linear_attention
from .regression_transformer import RegressionConfig, RegressionTransformer


def can_merge(config: RegressionConfig) -> bool:
    """Whether the prediction depends on the weights only through KQ and PV: no softmax, layer norm or query key."""
    return not (config.softmax or config.layer_norm or config.query_in_context)


def predict_seeds(
    config: RegressionConfig, parameters: Mapping[str, Tensor], inputs: Float[Tensor, "seed task token feature"]
) -> Float[Tensor, "seed task d_out"]:
    """The query's prediction for every seed, with merged weights where `can_merge` allows it.

    parameters: those of `RegressionTransformer`, each with a leading seed dimension
    """
    if can_merge(config):
        return merged_predict(config, parameters, inputs)
    shapes = {name: torch.empty(shape, device="meta") for name, shape in config.shapes.items()}
    module = RegressionTransformer(config, shapes)
    return vmap(lambda of_seed, tokens: functional_call(module, of_seed, (tokens,)))(dict(parameters), inputs)


def merged_predict(
    config: RegressionConfig, parameters: Mapping[str, Tensor], inputs: Float[Tensor, "seed task token feature"]
) -> Float[Tensor, "seed task d_out"]:
    """The query's prediction for every seed.

    parameters: W_Q, W_K, W_V [seed, block, head, d_model, d_head], W_O [seed, block, head, d_head, d_model]

    Fastest for inputs stored [seed, token, feature, task], as `data.stream` draws them.
    """
    KQ = parameters["W_Q"] @ parameters["W_K"].mT
    PV = parameters["W_V"] @ parameters["W_O"]
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
    moved = h
    for head in range(config.n_heads):
        q = h.flatten(1, 2) @ KQ[:, head]
        v = context.flatten(1, 2) @ PV[:, head]
        update = linear_attention(q.view_as(h), context, v.view_as(context))
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
