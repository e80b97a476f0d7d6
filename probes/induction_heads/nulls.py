"""Attention without any mechanism at the same scale: q and k of weights whose entries were permuted.

A randomly initialised model is too narrow a null: its attention is nearly even, while trained weights are large enough
to look somewhere. Permuting the entries within each W_Q and W_K keeps their sizes and leaves no structure. Such heads
read the states that the model itself forms: biases, positions, norms of q and k, scale and caps stay the architecture's
own, and what a head writes under such a pattern is made of the model's own v.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import rearrange
from jaxtyping import Float
from torch import Tensor

from ...data.batch import generator
from ...models.taps import Project, ProjectHeads
from ...models.weights import AttentionWeights


def permuted(
    weights: Float[Tensor, "layer head d_model d_head"], rng: torch.Generator
) -> Float[Tensor, "layer head d_model d_head"]:
    """Every head's matrix with its entries in a random order."""
    rows = weights.flatten(0, 1).flatten(1)
    order = torch.stack([torch.randperm(rows.shape[1], generator=rng) for _ in rows]).to(rows.device)
    return rows.gather(1, order).view(weights.shape)


@dataclass(frozen=True)
class PermutedAttention:
    """One draw of permuted weights for all layers.

    The entries of all W_Q of a layer are permuted alike, and those of all W_K. That takes away the structure of each as
    well as an order of its own would, and costs so little that a layer's are permuted when its pass needs them: no copy
    of the weights has to be kept.
    """

    weights: AttentionWeights
    seed: int
    draw: int

    @property
    def project(self) -> Project:
        return self._projection("Q"), self._projection("K")

    def matrix(self, role: str, layer: int) -> Float[Tensor, "head d_model d_head"]:
        """The permuted W_Q or W_K of one layer."""
        own: Tensor = getattr(self.weights, f"W_{role}")[layer]
        rng = generator(self.seed, "permuted weights", self.draw, role, layer)
        order = torch.randperm(own[0].numel(), generator=rng).to(own.device)
        return own.flatten(1)[:, order].view(own.shape)

    def _projection(self, role: str) -> ProjectHeads:
        biases: Tensor | None = getattr(self.weights, f"b_{role}")

        def project(x: Float[Tensor, "batch pos d_model"], layer: int) -> Float[Tensor, "batch head pos d_head"]:
            matrix = self.matrix(role, layer)
            wide = x @ rearrange(matrix, "head d_model d_head -> d_model (head d_head)")
            heads = rearrange(wide, "batch pos (head d_head) -> batch head pos d_head", head=len(matrix))
            return heads if biases is None else heads + biases[layer][:, None]

        return project
