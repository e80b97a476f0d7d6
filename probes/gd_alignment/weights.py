"""Trained against constructed weights: gauge, distance, and the path between them.

Everything is said in the products KQ = W_Q W_K^T and PV = W_V W_O (row convention). For linear attention KQ/β with
PV·β is the same model for any β ≠ 0 (a gauge); the authors fix it by β = mean of KQ's first d diagonal entries, sign
included. For softmax the scale of KQ is no gauge. Distances count live entries only: those that can reach the output.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from einops import rearrange
from jaxtyping import Bool, Float
from torch import Tensor

from ...models.own.regression_config import RegressionConfig
from ...models.subject import NotApplicable
from ..regression.products import Live, Products, WeightProducts

PATH = tuple(i / 20 for i in range(21))
"""Positions t of the interpolation: 0 is the trained model, 1 the constructed one."""
NEAR_ZERO = 0.05
"""β is undefined below this share of the diagonal's root mean square: it is then a difference of cancelling entries."""
LABEL_SET = "the sign of the predictions is turned, and these tasks set the query's y slot, which does not turn along"

Stack = Float[Tensor, "t block head d_model d_model"]


def with_sign(weights: WeightProducts, sign: int, query_label_set: bool = False) -> WeightProducts | NotApplicable:
    """The weights of the model whose prediction is turned.

    One layer writes the prediction into an empty y slot, so -PV turns it. Deeper layers read what -PV has written.
    """
    if sign > 0:
        return weights
    if weights.config.n_layers > 1:
        return NotApplicable("the sign of the predictions is turned: with several layers the weights do not turn along")
    if query_label_set:
        return NotApplicable(LABEL_SET)
    return replace(weights, PV=-weights.PV)


def gauge(KQ: Float[Tensor, "block 1 d_model d_model"], d_in: int) -> Float[np.ndarray, " block"]:
    """β of each block: the signed mean of the x part of KQ's diagonal; NaN where it is too near zero to divide by."""
    diagonal = KQ[:, 0].diagonal(dim1=-2, dim2=-1)[:, :d_in].numpy()
    beta = diagonal.mean(axis=1)
    scale = np.sqrt(np.square(diagonal).mean(axis=1))
    return np.where(np.abs(beta) > NEAR_ZERO * scale, beta, np.nan)


def align(weights: WeightProducts) -> WeightProducts | NotApplicable:
    """Single-head weights in the gauge where KQ's x diagonal has mean 1. Several heads: returned as they are.

    The summed tensor of several heads, and the mixture of their update maps, do not depend on the gauge.
    """
    if not weights.single_head:
        return weights
    beta = gauge(weights.KQ, weights.config.d_in)
    if np.isnan(beta).any():
        blocks = ", ".join(f"L{i}" for i in np.flatnonzero(np.isnan(beta)))
        return NotApplicable(f"the alignment is undefined: the mean of KQ's x diagonal is near zero ({blocks})")
    factor = torch.from_numpy(beta)[:, None, None, None]
    return replace(weights, KQ=weights.KQ / factor, PV=weights.PV * factor)


def tensor_distance(a: WeightProducts, b: WeightProducts, live: Live) -> float:
    """|Σ_h KQ_h ⊗ PV_h (a) - the same of b|_F / |b|_F over live entries of all blocks: free of the gauge.

    The tensor, d_model⁴ entries, is never formed: Σ_h σ_h u_h v_h^T has the Frobenius norm of R_u diag(σ) R_v^T, where
    R are the triangular factors of the stacked u and v. (Traces of Gram matrices say the same with half the digits.)
    """
    difference = reference = 0.0
    for block in range(a.KQ.shape[0]):
        masks = live.KQ[block], live.PV[block]
        ours, theirs = ((w.KQ[block] * masks[0], w.PV[block] * masks[1]) for w in (a, b))
        sign = torch.tensor([1.0] * len(ours[0]) + [-1.0] * len(theirs[0]), dtype=torch.float64)
        difference += _outer_sum_norm(torch.cat([ours[0], theirs[0]]), torch.cat([ours[1], theirs[1]]), sign) ** 2
        reference += _outer_sum_norm(*theirs, torch.ones(len(theirs[0]), dtype=torch.float64)) ** 2
    return float(np.sqrt(difference / reference))


def _outer_sum_norm(u: Tensor, v: Tensor, sign: Tensor) -> float:
    factors = (torch.linalg.qr(rearrange(w, "head row column -> (row column) head")).R for w in (u, v))
    R_u, R_v = factors
    return float(torch.linalg.norm((R_u * sign) @ R_v.mT))


def relative_distance(
    a: Products, b: Products, mask: Bool[Tensor, "block d_model d_model"]
) -> Float[np.ndarray, " block"]:
    """|a - b|_F / |b|_F over the masked entries of aligned single-head products, block by block.

    The reference is the whole of b, so that entries which are all zero in b (the dead ones) have a distance too.
    """
    difference = torch.linalg.norm((a - b)[:, 0] * mask, dim=(1, 2))
    return (difference / torch.linalg.norm(b[:, 0], dim=(1, 2))).numpy()


def path(trained: WeightProducts, constructed: WeightProducts) -> tuple[Stack, Stack]:
    """KQ and PV along the straight line from trained (t = 0) to constructed (t = 1), at the 21 positions of `PATH`.

    One head each: (1-t) KQ + t KQ', (1-t) PV + t PV' (von Oswald et al. 2023, appendix A.3, has t = 1/2 only). Several
    heads: the mixture of the two update maps, all heads side by side, weighted 1-t and t.
    """
    t = torch.tensor(PATH, dtype=torch.float64)[:, None, None, None, None]
    if trained.single_head and constructed.single_head:
        return torch.lerp(trained.KQ[None], constructed.KQ[None], t), torch.lerp(
            trained.PV[None], constructed.PV[None], t
        )
    KQ = torch.cat([trained.KQ, constructed.KQ], dim=1).expand(len(PATH), -1, -1, -1, -1)
    return KQ, torch.cat([(1 - t) * trained.PV, t * constructed.PV], dim=2)


def barrier(path_loss: Float[np.ndarray, "*axes t"]) -> Float[np.ndarray, "*axes"]:
    """max over t of loss(t) - ((1-t) loss(0) + t loss(1)): 0 when the path never rises above the straight line."""
    t = np.array(PATH)
    with np.errstate(invalid="ignore"):  # a path with an infinite loss has no barrier: NaN
        chord = (1 - t) * path_loss[..., :1] + t * path_loss[..., -1:]
        return np.asarray((path_loss - chord).max(axis=-1))


def rotated(weights: WeightProducts, rng: torch.Generator) -> WeightProducts:
    """The same weights with KQ's x rows turned by a random rotation: same spectrum, wrong directions."""
    d_in = weights.config.d_in
    q, r = torch.linalg.qr(torch.randn(d_in, d_in, generator=rng, dtype=torch.float64))
    KQ = weights.KQ.clone()
    KQ[..., :d_in, :] = (q * r.diagonal().sign()) @ KQ[..., :d_in, :]
    return replace(weights, KQ=KQ)


def matched_blocks(constructed: WeightProducts, config: RegressionConfig) -> WeightProducts:
    """Constructed products repeated for every distinct block of an untied stack.

    A constructed model that is dampened otherwise is the same model with PV scaled to the dampening of `config`.
    """
    shape = (config.n_blocks, 1, config.d_model, config.d_model)
    PV = constructed.PV * (constructed.config.dampening / config.dampening)
    return WeightProducts(constructed.KQ.expand(shape), PV.expand(shape), config)


@dataclass(frozen=True)
class Rates:
    """The learning rate η and curvature γ (1 / squared input) that weights amount to, block by block."""

    learning_rate: Float[np.ndarray, " block"]
    gamma: Float[np.ndarray, " block"]


def rates_in_weights(aligned: WeightProducts, n_context: int) -> Rates:
    """Read off single-head aligned weights, before dampening, as those of a constructed model are.

    From the constructions: PV = diag(-γ 1_d, -η/N), so both are signed mean diagonals.
    """
    diagonal, d_in = aligned.PV[:, 0].diagonal(dim1=-2, dim2=-1).numpy(), aligned.config.d_in
    return Rates(-diagonal[:, d_in:].mean(axis=1) * n_context, -diagonal[:, :d_in].mean(axis=1))
