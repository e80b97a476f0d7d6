"""What one layer of linear attention does to tokens, and how much of it gradient descent does.

With tokens h, context tokens C, a layer writes (row convention, heads summed)

    h <- h + Σ_bc T[a,b,c,e] h_a G_bc            T = Σ_heads KQ[a,b] PV[c,e],   G = C^T C

G is symmetric, so nothing depends on how T divides between (b, c) and (c, b). The mean of the two, over live entries,
is all there is of a layer: a gauge, a basis within a head and the order of heads do not show in it. Entries are of x or
of y, and gradient descent has two kinds (von Oswald et al. 2023, proposition 1 and appendix A.10):

    step        x, with (x, y) of a context token, to y:    y <- y - x^T M X^T y,    M = (η/N) I
    curvature   x, with (x, x), to x:                       x <- x - x^T (γ I) X^T X

All others are other entries. With several labels a step treats all alike: what mixes them counts as other, too.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from einops import einsum
from jaxtyping import Float
from torch import Tensor

from ..regression.products import WeightProducts, live_entries
from .optimum import Matrix

Heads = Float[Tensor, "head d_model d_model"]


@dataclass(frozen=True, eq=False)
class Layer:
    """KQ and PV of one layer, float64, entries that cannot reach the output set to 0. PV holds the dampening."""

    KQ: Heads
    PV: Heads
    d_in: int

    @property
    def curves(self) -> bool:
        """Whether what the layer does to x can reach the output."""
        return bool(self.PV[..., : self.d_in].any())


def layers_of(weights: WeightProducts) -> list[Layer]:
    """Of every distinct block. The query's y slot is taken to be 0."""
    live, config = live_entries(weights.config), weights.config
    blocks = zip(weights.KQ * live.KQ[:, None], weights.PV * live.PV[:, None] * config.dampening, strict=True)
    return [Layer(KQ, PV, config.d_in) for KQ, PV in blocks]


def step_tensor(layer: Layer) -> Float[Tensor, "d_in d_in d_out d_out"]:
    """The prediction's label e has x_q,a (X^T Y)_bc times entry [a, b, c, e]."""
    d = layer.d_in
    KQ, PV = layer.KQ[:, :d], layer.PV[..., d:]
    straight = einsum(KQ[..., :d], PV[:, d:], "head a b, head c e -> a b c e")
    crossed = einsum(KQ[..., d:], PV[:, :d], "head a c, head b e -> a b c e")
    return -(straight + crossed)


def step_matrix(layer: Layer) -> Matrix:
    """M, the effective matrix: the layer's step is x^T M X^T y. With several labels, the mean over them."""
    tensor = step_tensor(layer)
    return einsum(tensor, "a b c c -> a b") / tensor.shape[-1]


def curvature(layer: Layer) -> float:
    """γ, with which x <- x - γ X X^T x is nearest to what the layer does to x."""
    KQ, PV, d = layer.KQ[:, : layer.d_in, : layer.d_in], layer.PV[:, : layer.d_in, : layer.d_in], layer.d_in
    traces = KQ.diagonal(dim1=-2, dim2=-1).sum(-1) * PV.diagonal(dim1=-2, dim2=-1).sum(-1)
    return -float(traces.sum() + (KQ * PV).sum()) / (d * (d + 1))


def step_sizes(M: Matrix) -> Float[Tensor, " d_in"]:
    """η/N along every direction, least first: a step goes down the loss, whatever the gradient, where all are above 0.
    Of a multiple of the identity all are the same.
    """
    return torch.linalg.eigvalsh((M + M.mT) / 2)


def with_fixed_gauge(layer: Layer) -> Layer:
    """The same layer with every head's KQ as large as that of gradient descent, diag(1, 0), and its x diagonal positive
    in the mean; PV takes the inverse.
    """
    d = layer.d_in
    size = layer.KQ.norm(dim=(1, 2)) / d**0.5
    sign = torch.where(layer.KQ[:, :d, :d].diagonal(dim1=-2, dim2=-1).sum(-1) < 0, -1.0, 1.0).to(size)
    scale = torch.where(size > 0, size * sign, 1.0)[:, None, None]
    return Layer(layer.KQ / scale, layer.PV * scale, d)


def along(layer: Layer, directions: Float[Tensor, "d_in rank"]) -> Layer:
    """The layer on coordinates of x in an orthonormal basis: all there is of a single one, where x has no others."""
    basis = torch.block_diag(directions, torch.eye(layer.KQ.shape[-1] - layer.d_in, dtype=directions.dtype))
    return Layer(basis.mT @ layer.KQ @ basis, basis.mT @ layer.PV @ basis, directions.shape[1])


def heads_of(layer: Layer) -> Iterator[Layer]:
    """Each head alone: what the layer does is the sum."""
    for KQ, PV in zip(layer.KQ, layer.PV, strict=True):
        yield Layer(KQ[None], PV[None], layer.d_in)


@dataclass(frozen=True)
class Parts:
    """Squared Frobenius norms of five orthogonal parts of T, which add up to all of it.

    step, curvature:            the multiple of the identity that is nearest
    step_rest, curvature_rest:  the rest of the same entries
    other:                      entries where gradient descent has none
    """

    step: float
    step_rest: float
    curvature: float
    curvature_rest: float
    other: float


def parts(layer: Layer) -> Parts:
    """How a layer's T divides. T has d_model^4 entries: it is formed for one a at a time."""
    tensor, M, d = step_tensor(layer), step_matrix(layer), layer.d_in
    n_out, identity = tensor.shape[-1], torch.eye(layer.d_in, dtype=M.dtype)
    even = einsum(M, torch.eye(n_out, dtype=M.dtype), "a b, c e -> a b c e")
    multiple, gamma = M.diagonal().mean(), curvature(layer)
    curvature_rest = other = 0.0
    for a in range(layer.KQ.shape[-1]):
        row = einsum(layer.KQ[:, a], layer.PV, "head b, head c e -> b c e")
        row = (row + row.transpose(0, 1)) / 2
        if a < d:
            expected = einsum(identity[a], identity, "b, c e -> b c e")
            expected = (expected + expected.transpose(0, 1)) / 2
            curvature_rest += float((row[:d, :d, :d] + gamma * expected).square().sum())
            row[:d, :d, :d] = row[:d, d:, d:] = row[d:, :d, d:] = 0
        other += float(row.square().sum())
    # an entry of M stands at (b, c) and at (c, b), with half its size each
    return Parts(
        step=n_out * d * float(multiple) ** 2 / 2,
        step_rest=n_out * float((M - multiple * identity).square().sum()) / 2,
        curvature=gamma**2 * d * (d + 1) / 2,
        curvature_rest=curvature_rest,
        other=other + float((tensor - even).square().sum()) / 2,
    )
