"""Attention without any mechanism at the same scale: q and k of weights whose entries were permuted.

A randomly initialised model is too narrow a null: its attention is nearly even, while trained weights are large enough
to look somewhere. Permuting the entries within each W_Q and W_K keeps their sizes and leaves no structure. Biases stay,
and positions, norms of q and k, scale and caps are the architecture's own, because only q and k are replaced.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
from einops import einsum
from jaxtyping import Float, Int
from torch import Tensor

from ...models.language_model import LanguageModel
from ...models.subject import Edit, Reduce, Site
from ...models.weights import AttentionWeights
from ..streaming import Watcher


def permuted(
    weights: Float[Tensor, "layer head d_model d_head"], rng: torch.Generator
) -> Float[Tensor, "layer head d_model d_head"]:
    """Every head's matrix with its entries in a random order."""
    rows = weights.flatten(0, 1).flatten(1)
    order = torch.stack([torch.randperm(rows.shape[1], generator=rng) for _ in rows]).to(rows.device)
    return rows.gather(1, order).view(weights.shape)


class PermutedAttention(Watcher):
    """Put permuted weights in the place of a model's own, for the passes that it watches and edits."""

    def __init__(self, subject: LanguageModel, weights: AttentionWeights, rng: torch.Generator) -> None:
        self._subject = subject
        self._projections = {
            "q": (permuted(weights.W_Q, rng), weights.b_Q),
            "k": (permuted(weights.W_K, rng), weights.b_K),
        }
        self._read = torch.empty(0)

    def watch(self, tokens: Int[Tensor, "batch pos"]) -> dict[Site, Reduce]:
        return {"resid_pre": self._keep}

    @property
    def edit(self) -> Mapping[Site, Edit]:
        return {"q": lambda _, layer: self._project("q", layer), "k": lambda _, layer: self._project("k", layer)}

    def _keep(self, resid_pre: Float[Tensor, "batch pos d_model"], layer: int) -> None:
        self._read = self._subject.attention_input(resid_pre, layer)

    def _project(self, role: str, layer: int) -> Float[Tensor, "batch head pos d_head"]:
        W, b = self._projections[role]
        projected = einsum(self._read, W[layer], "batch pos d_model, head d_model d_head -> batch head pos d_head")
        return projected if b is None else projected + b[layer][:, None]
