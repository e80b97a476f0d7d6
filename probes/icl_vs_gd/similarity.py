"""How much two ways of answering are alike in what attention puts out, and in its scores.

    n(h)          h / |h|
    SimAOU        cos(n(h_icl) - n(h_zs), n(h_ft) - n(h_zs))            Dai et al. 2023, arXiv 2212.10559
    contrast      cos(n(h_icl) - n(h_icl'), n(h_ft) - n(h_ft'))         h': the same demonstrations, labels swapped
    SimAM         mean over heads of cos(m_icl, m_ft), m the scores of the last query on its own tokens

SimAOU subtracts one vector from both, so independent unit vectors have 1/2; the contrast shares no vector, and they
have 0. What does not exist is NaN here: a cosine of a difference that is nothing but rounding, and SimAM of fewer than
three tokens.
"""

from __future__ import annotations

import torch
from einops import reduce
from jaxtyping import Float
from torch import Tensor

LEAST_TOKENS = 3
"""Of its own, that a query needs: the cosine of one number is its sign."""
_ROUNDING = 64
"""Differences of two vectors below so many units in the last place of their length are rounding."""


def output_similarity(
    icl: Float[Tensor, "*query d_model"],
    ft: Float[Tensor, "*query d_model"],
    zs: Float[Tensor, "*query d_model"],
    normed: bool = True,
) -> Float[Tensor, "*query"]:
    """SimAOU: in context and fine-tuned, from zero-shot. `normed=False`: of the outputs as they are."""
    icl, ft, zs = (_unit(h) if normed else h for h in (icl, ft, zs))
    return cosine_of_differences(icl, zs, ft, zs)


def label_swap_contrast(
    icl: Float[Tensor, "*query d_model"],
    icl_swapped: Float[Tensor, "*query d_model"],
    ft: Float[Tensor, "*query d_model"],
    ft_swapped: Float[Tensor, "*query d_model"],
) -> Float[Tensor, "*query"]:
    """Whether other labels move outputs the same way in context and fine-tuned."""
    return cosine_of_differences(*(_unit(h) for h in (icl, icl_swapped, ft, ft_swapped)))


def score_similarity(
    icl: Float[Tensor, "*query head own"], ft: Float[Tensor, "*query head own"]
) -> Float[Tensor, "*query"]:
    """SimAM, of pre-softmax scores on the query's own tokens."""
    nothing = torch.zeros_like(icl)
    return score_shift_similarity(icl, ft, nothing)


def score_shift_similarity(
    icl: Float[Tensor, "*query head own"],
    ft: Float[Tensor, "*query head own"],
    zs: Float[Tensor, "*query head own"],
) -> Float[Tensor, "*query"]:
    """The same of what changes from zero-shot: SimAM_delta."""
    cosines = cosine_of_differences(icl, zs, ft, zs)
    if icl.shape[-1] < LEAST_TOKENS:
        cosines = torch.full_like(cosines, torch.nan)
    return reduce(cosines, "... head -> ...", "mean")


def cosine_of_differences(
    a: Float[Tensor, "*batch d"],
    a_from: Float[Tensor, "*batch d"],
    b: Float[Tensor, "*batch d"],
    b_from: Float[Tensor, "*batch d"],
) -> Float[Tensor, "*batch"]:
    """cos(a - a_from, b - b_from)."""
    sides = [(x.double() - x_from.double(), _rounding(x, x_from)) for x, x_from in ((a, a_from), (b, b_from))]
    (one, one_least), (other, other_least) = sides
    lengths = one.norm(dim=-1), other.norm(dim=-1)
    cosine = (one * other).sum(dim=-1) / (lengths[0] * lengths[1])
    exists = (lengths[0] > one_least) & (lengths[1] > other_least)
    return cosine.masked_fill(~exists, torch.nan)


def _unit(h: Tensor) -> Tensor:
    return h / h.norm(dim=-1, keepdim=True)


def _rounding(a: Tensor, b: Tensor) -> Tensor:
    """The length below which a difference says nothing."""
    eps = max(torch.finfo(dtype).eps for dtype in (a.dtype, torch.float32))  # families norm in it whatever the pass has
    return _ROUNDING * eps * torch.maximum(a.double().norm(dim=-1), b.double().norm(dim=-1))
