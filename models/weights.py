"""Attention weights under their usual names, and their gauge-invariant products."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from .norms import Norm
from .rotary import Rotary


class Factors(NamedTuple):
    """The factors of a low-rank product left @ right."""

    left: Float[Tensor, "rows d_head"]
    right: Float[Tensor, "d_head columns"]


class AttentionOutput(NamedTuple):
    """The map from one layer's z to attention's write to the residual stream.

    W_O, b_O:  the write is the sum over heads of z W_O, plus b_O
    own_norm:  norm of the write before it is added to the stream (Gemma 2); None: no norm
    norm:      norm of the sum of stream and write, in models that normalise after attention (BERT); None: no norm
    """

    W_O: Float[Tensor, "head d_head d_model"]
    b_O: Float[Tensor, "d_model"] | None
    own_norm: Norm | None = None
    norm: Norm | None = None


@dataclass(frozen=True)
class AttentionWeights:
    """The attention weights of all layers; activations are rows, so q = h @ W_Q + b_Q.

    Tied layers repeat their weights. Where query heads share a key-value head, query head h uses key-value head
    h // group, and W_K, W_V and their biases hold each shared head once.

    folded:   the weights contain the scale and offset of the layer norm before them
    rotary:   the rotation of q and k, or that of each layer; None: positions enter elsewhere, or not at all
    scale_Q, scale_K:  scales of the norms of q and k (Qwen3), which follow the projections and come before the
              rotation; None: no norm. `qk` contains them; W_Q and W_K do not
    centred:  the norms of q and k also subtract the mean over a head's dimensions
    no_qk:    why no product of weights gives the scores; None: `qk` does
    """

    W_Q: Float[Tensor, "layer head d_model d_head"]
    W_K: Float[Tensor, "layer kv_head d_model d_head"]
    W_V: Float[Tensor, "layer kv_head d_model d_head"]
    W_O: Float[Tensor, "layer head d_head d_model"]
    b_Q: Float[Tensor, "layer head d_head"] | None = None
    b_K: Float[Tensor, "layer kv_head d_head"] | None = None
    b_V: Float[Tensor, "layer kv_head d_head"] | None = None
    b_O: Float[Tensor, "layer d_model"] | None = None
    folded: bool = False
    rotary: Rotary | tuple[Rotary | None, ...] | None = None
    scale_Q: Float[Tensor, "layer head d_head"] | None = None
    scale_K: Float[Tensor, "layer kv_head d_head"] | None = None
    centred: bool = False
    no_qk: str | None = None

    def rotary_of(self, layer: int) -> Rotary | None:
        """The rotation of one layer's q and k."""
        return self.rotary[layer] if isinstance(self.rotary, tuple) else self.rotary

    @property
    def group(self) -> int:
        """Query heads per key-value head."""
        return self.W_Q.shape[1] // self.W_K.shape[1]

    def expanded(self) -> AttentionWeights:
        """One key-value head per query head: shared heads are repeated."""
        if self.group == 1:
            return self
        return replace(
            self,
            **{
                name: None if (value := getattr(self, name)) is None else value.repeat_interleave(self.group, dim=1)
                for name in ("W_K", "W_V", "b_K", "b_V", "scale_K")
            },
        )

    def with_norm_folded(
        self, scale: Float[Tensor, "layer d_model"], offset: Float[Tensor, "layer d_model"] | None
    ) -> AttentionWeights:
        """Weights for the normalised stream without scale and offset; they contain both."""
        folded: dict[str, Tensor | None] = {}
        for role in "QKV":
            W, b = getattr(self, f"W_{role}"), getattr(self, f"b_{role}")
            folded[f"W_{role}"] = scale[:, None, :, None] * W
            if offset is not None:
                added = einsum(offset, W, "layer d_model, layer head d_model d_head -> layer head d_head")
                folded[f"b_{role}"] = added if b is None else added + b
        return replace(self, folded=True, **folded)

    def qk(self, layer: int, head: int, offset: int | None = None) -> Factors:
        """The bilinear form of a head's scores, without biases and scale: x_query @ left @ right @ x_key.

        In layers with rotary positions it depends on `offset`, the query's position minus the key's; in others `offset`
        is ignored. Norms of q and k divide it by a positive number for each query and each key, which is left out.
        Raises ValueError where `no_qk` says why there is no such form.
        """
        if self.no_qk is not None:
            raise ValueError(self.no_qk)
        key = head // self.group
        W_Q, W_K = self._normed("Q", layer, head), self._normed("K", layer, key)
        rotary = self.rotary_of(layer)
        if rotary is None:
            return Factors(W_Q, W_K.mT)
        if offset is None:
            raise ValueError("offset is missing; with rotary positions, qk needs the relative offset of query and key")
        # k, too, is multiplied by the factor of its rotation, by an angle of 0
        sides = (rotary.rotate(W[:, None], torch.tensor([at]))[:, 0] for W, at in ((W_Q, offset), (W_K, 0)))
        left, right = sides
        return Factors(left, right.mT)

    def _normed(self, role: str, layer: int, head: int) -> Float[Tensor, "d_model d_head"]:
        """W_Q or W_K of one head, followed by the linear part of its norm."""
        W, scale = getattr(self, f"W_{role}")[layer, head], getattr(self, f"scale_{role}")
        if self.centred:
            W = W - W.mean(dim=-1, keepdim=True)
        return W if scale is None else W * scale[layer, head]

    def ov(self, layer: int, head: int) -> Factors:
        """The write of an attended token x to the residual stream, without biases: x @ left @ right."""
        return Factors(self.W_V[layer, head // self.group], self.W_O[layer, head])

    @property
    def KQ(self) -> Float[Tensor, "layer head d_model d_model"]:
        """W_Q W_K^T: attention logits are h KQ h^T (rows: query side, columns: key side)."""
        return einsum(self.W_Q, self.expanded().W_K, "layer head q k, layer head kv k -> layer head q kv")

    @property
    def PV(self) -> Float[Tensor, "layer head d_model d_model"]:
        """W_V W_O: an attended token h adds h PV to the residual stream."""
        return self.expanded().W_V @ self.W_O


def weights_sha256(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of every tensor's name, dtype, shape and bytes, in alphabetical order.

    It does not depend on the container: the same weights in .safetensors and .npz have the same digest.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name].detach().cpu().contiguous()
        digest.update(f"{name} {tensor.dtype} {list(tensor.shape)}\n".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy().data)  # in place: an embedding is a large thing
    return digest.hexdigest()
