"""The weights of a softmax layer: how near the block of W_KQ between A and A is to a multiple of the identity.

The construction of one gradient step has W_KQ = diag(s, ..., s, 0) and w_V = eta / (n c s) on b. Its sharpness s is
free, as long as it is small. For softmax attention the scale of W_KQ is no gauge: the layer with another s is another
function. So a trained layer is compared with the construction of its own s, the mean of the block's diagonal.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from ...models.constructed.softmax_regression import softmax_gradient_layer
from ...models.own.softmax_layer import SoftmaxLayer
from ...models.subject import NotApplicable

LEAST_SHARE = 0.3
"""Of the block's norm that lies along the identity: below it the layer has no sharpness of its own."""
PATH = tuple(np.linspace(0, 1, 21).round(2).tolist())
NO_SHARPNESS = (
    "the block of W_KQ between A and A is not near a multiple of the identity, so there is no construction to"
    " compare with"
)


@dataclass(frozen=True, eq=False)
class KQBlock:
    """The block of W_KQ that compares the a of a query with the a of a key, in float64."""

    block: Float[Tensor, "d_in d_in"]

    @classmethod
    def of(cls, layer: SoftmaxLayer) -> KQBlock:
        d_in = layer.config.d_in
        return cls(layer.W_KQ[:d_in, :d_in].detach().double().cpu())

    @property
    def sharpness(self) -> float:
        """The mean of the diagonal: of all multiples of the identity this one is nearest."""
        return float(self.block.diagonal().mean())

    @property
    def distance(self) -> float:
        """|block - sharpness I| / |block|, Frobenius: 0 for a multiple of the identity, about 1 for other matrices."""
        rest = self.block - self.sharpness * torch.eye(len(self.block), dtype=self.block.dtype)
        return float(rest.norm() / self.block.norm())  # NaN where all is 0

    @property
    def off_diagonal(self) -> float:
        """Mean size of the entries off the diagonal, over the size of the diagonal's mean."""
        d = len(self.block)
        off = self.block - torch.diag(self.block.diagonal())
        return float(off.abs().sum() / (d * (d - 1)) / self.block.diagonal().mean().abs())

    @property
    def share_along_identity(self) -> float:
        return float(self.block.diagonal().mean().abs() * len(self.block) ** 0.5 / self.block.norm())

    def turned(self, rng: torch.Generator) -> KQBlock:
        """The block after a random rotation of the queries alone: as large, and along nothing."""
        Q, R = torch.linalg.qr(torch.randn(self.block.shape, generator=rng, dtype=self.block.dtype))
        return KQBlock(Q * R.diagonal().sign() @ self.block)


def written_rate(layer: SoftmaxLayer, n_tokens: int) -> float:
    """n c sharpness w_V[b]: the learning rate of the gradient step that these weights make to first order."""
    return n_tokens * layer.config.output_scale * KQBlock.of(layer).sharpness * float(layer.w_V[-1].double())


def construction(layer: SoftmaxLayer, n_tokens: int, learning_rate: float) -> SoftmaxLayer | NotApplicable:
    """The construction of one gradient step with the layer's own sharpness and output scale."""
    block = KQBlock.of(layer)
    if not block.share_along_identity >= LEAST_SHARE:
        return NotApplicable(NO_SHARPNESS)
    config = layer.config
    return softmax_gradient_layer(n_tokens, learning_rate, config.d_in, block.sharpness, config.output_scale)


def live_distance(layer: SoftmaxLayer, other: SoftmaxLayer) -> float:
    """|layer - other| / |other|, Frobenius, of W_KQ (x) w_V over entries that reach the prediction.

    A query's own b is 0, so the last row of W_KQ does not. The tensor product is never formed.
    """
    d_in = layer.config.d_in
    (KQ, V), (other_KQ, other_V) = (
        (one.W_KQ[:d_in].detach().double().cpu(), one.w_V.detach().double().cpu()) for one in (layer, other)
    )
    inner = (KQ * other_KQ).sum() * (V @ other_V)
    own, others = KQ.square().sum() * V.square().sum(), other_KQ.square().sum() * other_V.square().sum()
    return float(((own - 2 * inner + others).clamp(min=0) / others).sqrt())


def between(start: SoftmaxLayer, end: SoftmaxLayer, t: float) -> SoftmaxLayer:
    """(1 - t) start + t end, weight by weight, in float64."""
    mixed = {
        name: (1 - t) * weight.detach().double() + t * end.get_parameter(name).to(weight.device).double()
        for name, weight in start.named_parameters()
    }
    return SoftmaxLayer(start.config, mixed)
