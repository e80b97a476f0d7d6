"""The regression transformer's prediction for the query, in the way in which it trains fastest.

A head acts through two products of its weights, KQ = W_Q W_K^T and PV = W_V W_O. With x the tokens behind a layer's
norm and c those of them that are attended to, a layer is

    h <- h + dampening * Σ_heads s(x KQ c^T) c PV        s: softmax(. / sqrt(d_head)), or nothing for linear attention

so no keys and values are formed, and all that linear attention needs of c is Σ_j c_j c_j^T. Only the query leaves the
last layer. Equal to `RegressionTransformer.forward` up to rounding, gradients included.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from .fast_functions import gelu
from .memory_orders import Columns, Order
from .regression_config import MLP_FACTOR, RegressionConfig
from .regression_transformer import ROLES, position_codes

CACHE = 2**19
"""How many numbers the largest activation of one pass may have: 2 MiB in float32."""


def tasks_at_once(config: RegressionConfig, n_context: int) -> int:
    """How many tasks one pass takes, so that what it holds stays in the cache."""
    n_tokens = n_context + 1 if config.token_order == "joint" else 2 * n_context + 1
    has_mlp = config.mlp is not None or config.d_embed is not None
    widest = max(config.n_heads * max(config.d_model, n_tokens), has_mlp * MLP_FACTOR * config.d_model)
    return max(1, CACHE // (n_tokens * widest))


def merge(config: RegressionConfig, named: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The transformer's parameters with products in place of those of attention, heads side by side.

    KQ [block, d_model, head * d_model], and PV [block, head * d_model, d_model] with the dampening in it.
    """
    W_Q, W_K, W_V, W_O = (named[role] for role in ROLES)
    PV = config.dampening * (W_V @ W_O)
    if config.target_only:
        PV = torch.cat([torch.zeros_like(PV[..., : -config.d_out]), PV[..., -config.d_out :]], dim=-1)
    return {
        "KQ": rearrange(W_Q @ W_K.mT, "block head i j -> block i (head j)"),
        "PV": rearrange(PV, "block head i j -> block (head i) j"),
        **{name: weight for name, weight in named.items() if name not in ROLES},
    }


@dataclass(frozen=True, eq=False)
class TrainingPass:
    """A transformer with merged weights, and the order in memory in which it computes."""

    config: RegressionConfig
    weights: Mapping[str, Tensor]
    order: Order

    def predict(self, tokens: Float[Tensor, "feature token task"]) -> Float[Tensor, "d_out task"]:
        h = self._embedded(tokens)
        for layer in range(self.config.n_layers):
            h = self._after(layer, h)
        return -self.order.labels(h, self.config.d_out)

    def _embedded(self, tokens: Float[Tensor, "feature token task"]) -> Tensor:
        """What the first layer reads."""
        config, weights, order = self.config, self.weights, self.order
        if config.token_order != "joint":
            tokens = config.layout.arrange(tokens.permute(2, 1, 0)).permute(2, 1, 0)
        h = order.stored(tokens)
        if config.d_embed is not None:
            h = order.linear(h, weights["W_E"])
            hidden = gelu(order.linear(h, weights["embed_W_in"]).add_(order.per_feature(weights["embed_b_in"])))
            h = h + order.linear(hidden, weights["embed_W_out"]).add_(order.per_feature(weights["embed_b_out"]))
        if config.d_position:
            codes = position_codes(h.shape[1], config.d_position, config.one_hot_positions).to(h)
            codes = order.stored(codes.T[:, :, None].expand(-1, -1, tokens.shape[2]))
            h = torch.cat([h, codes], dim=order.feature)
        return h

    def _after(self, layer: int, h: Tensor) -> Tensor:
        """The tokens after a layer; after the last one the query alone."""
        config, order, last = self.config, self.order, layer == self.config.n_layers - 1
        x = self._normed("ln", 0 if config.tied else layer - 1, h)
        c = x if config.query_in_context else x[:, :-1]
        if last:
            h, x = h[:, -1:], x[:, -1:]
        h = self._clipped(h + self._update(layer, x, c))
        if config.mlp is None:
            return h
        mlp = layer if config.mlp == "own" else 0
        hidden = gelu(order.linear(self._normed("mlp_ln", mlp, h), self.weights["W_in"][mlp]))
        return self._clipped(h + config.dampening * order.linear(hidden, self.weights["W_out"][mlp]))

    def _update(self, layer: int, x: Tensor, c: Tensor) -> Tensor:
        """What attention writes to tokens x that read c."""
        config, order, block = self.config, self.order, 0 if self.config.tied else layer
        KQ, PV, softmax = self.weights["KQ"][block], self.weights["PV"][block], config.softmax_in(layer)
        alone = x.shape[1] == 1  # the query, after whom nothing comes
        if order is Columns and not (softmax or config.causal or alone):
            return Columns.read_by_moments(x, c, KQ, PV)
        scores = order.scores(order.linear(x, KQ), c)
        if softmax:
            scores = scores * config.d_head**-0.5
        if config.causal and not alone:
            later = torch.ones(x.shape[1], c.shape[1], dtype=torch.bool, device=x.device).triu(1)
            scores = scores.masked_fill(order.per_pair(later), -torch.inf if softmax else 0.0)
        return order.linear(order.read(scores.softmax(dim=order.key) if softmax else scores, c), PV)

    def _normed(self, name: str, norm: int, h: Tensor) -> Tensor:
        """Behind a layer norm, where there is one: an untied stack has none before its first layer."""
        if not self.config.layer_norm or norm < 0:
            return h
        return self.order.normed(h, self.weights[f"{name}_scale"][norm], self.weights[f"{name}_offset"][norm])

    def _clipped(self, h: Tensor) -> Tensor:
        """Most batches are within the bounds, and finding that out is quicker than a clip and its gradient."""
        clip = self.config.activation_clip
        if clip is None:
            return h
        low, high = h.detach().aminmax()
        return h if -clip <= low and high <= clip else h.clamp(-clip, clip)
