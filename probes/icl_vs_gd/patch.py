"""The context as a change of weights of the MLP (Dherin et al. 2025, arXiv 2507.16003).

A is what the MLP reads at the last position with the context, A0 without it. For activations as rows, x W:

    dW = A0^T (A - A0) W / |A0|^2           A0 (W + dW) = A W: a matrix of rank one for each query

A gated MLP has one for each of its two matrices. What the residual stream carries past the MLP is not in it: that shift
is added to the output. No matrix is formed:

    |dW| = |(A - A0) W| / |A0|              cos(dW_i, dW_j) = cos(A0_i, A0_j) cos((A_i - A0_i) W, (A_j - A0_j) W)
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor


@dataclass(frozen=True)
class Patch:
    """dW of some queries, as the outer product of read and written."""

    read: Float[Tensor, "query d_model"]
    written: Float[Tensor, "query d_mlp"]

    @classmethod
    def of(
        cls,
        with_context: Float[Tensor, "query d_model"],
        without: Float[Tensor, "query d_model"],
        W: Float[Tensor, "d_model d_mlp"],
    ) -> Patch:
        """Of what the MLP reads, through one of its matrices."""
        return cls(without / without.square().sum(dim=-1, keepdim=True), (with_context - without) @ W)

    def matrices(self) -> Float[Tensor, "query d_model d_mlp"]:
        """Written out, for small models."""
        return einsum(self.read, self.written, "query d_model, query d_mlp -> query d_model d_mlp")

    def sizes(self) -> Float[Tensor, "query"]:
        """|dW|."""
        return self.read.norm(dim=-1) * self.written.norm(dim=-1)

    def cosines(self) -> Float[Tensor, "query query"]:
        """Between the patches of any two queries; NaN where one of them is 0."""
        return _cosines(self.read) * _cosines(self.written)

    def overlap(self) -> Float[Tensor, ""]:
        """The mean cosine between the patches of two different queries; NaN of one query."""
        others = ~torch.eye(len(self.read), dtype=torch.bool, device=self.read.device)
        return self.cosines()[others].mean()

    def along(self, direction: Float[Tensor, "d_model d_mlp"]) -> Float[Tensor, "query"]:
        """The cosine of each patch with a matrix, such as a step of gradient descent."""
        product = einsum(self.read, direction, self.written, "query d_model, d_model d_mlp, query d_mlp -> query")
        return product / (self.sizes() * direction.norm())


def _cosines(rows: Float[Tensor, "query d"]) -> Float[Tensor, "query query"]:
    unit = rows / rows.norm(dim=-1, keepdim=True)
    return unit @ unit.mT
