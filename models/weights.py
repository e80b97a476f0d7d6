"""Attention weights under the field's names, and their gauge-free products."""

from __future__ import annotations

from dataclasses import dataclass

from einops import einsum
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class AttentionWeights:
    """Every layer's attention weights; activations are rows, so q = h @ W_Q.

    Layers that share weights appear once each, repeated.
    """

    W_Q: Float[Tensor, "layer head d_model d_head"]
    W_K: Float[Tensor, "layer head d_model d_head"]
    W_V: Float[Tensor, "layer head d_model d_head"]
    W_O: Float[Tensor, "layer head d_head d_model"]

    @property
    def KQ(self) -> Float[Tensor, "layer head d_model d_model"]:
        """W_Q W_K^T: attention logits are h KQ h^T (rows: query side, columns: key side)."""
        return einsum(self.W_Q, self.W_K, "layer head q k, layer head kv k -> layer head q kv")

    @property
    def PV(self) -> Float[Tensor, "layer head d_model d_model"]:
        """W_V W_O: what an attended token h adds to the residual stream is h PV."""
        return self.W_V @ self.W_O
