"""How much two distributions over the vocabulary are alike.

    TV            1/2 sum |p - q|
    KL            sum p log(p / q)
    overlap       |O| / K, O = top_K(p) n top_K(q)
    OCS           sum_O p q / (sqrt(sum_O p^2 sum_O q^2) + K - |O|)     Shen et al. 2024, arXiv 2310.08540

The K - |O| of OCS can be read inside the root as well. The tail of a distribution rules overlap and OCS: two whose TV
is below 1e-4 may share .79 of their ten most probable tokens. So a K beyond an eighth of the vocabulary is refused.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

from ...data.errors import TaskError

SHARE = 8
"""The vocabulary has at least so many times as many tokens as are compared."""


def check_top(k: int, d_vocab: int) -> None:
    """Raise TaskError for a number of most probable tokens that takes in the tail of a vocabulary of that size."""
    if not 1 <= k <= d_vocab // SHARE:
        most = f"from 1 to {d_vocab // SHARE}" if d_vocab >= SHARE else "a larger vocabulary"
        raise TaskError(
            f"top = {k} tokens of a vocabulary of {d_vocab}; expected {most}: beyond an eighth of the vocabulary the"
            " overlap compares improbable tokens"
        )


def total_variation(p: Float[Tensor, "*batch d_vocab"], q: Float[Tensor, "*batch d_vocab"]) -> Float[Tensor, "*batch"]:
    """Half the distance of two distributions: 0 if they are the same, 1 if they share no token."""
    return (p.double() - q.double()).abs().sum(dim=-1) / 2


def divergence(p: Float[Tensor, "*batch d_vocab"], q: Float[Tensor, "*batch d_vocab"]) -> Float[Tensor, "*batch"]:
    """KL(p | q) in nats; infinite where q rules out what p allows."""
    p, q = p.double(), q.double()
    return (torch.xlogy(p, p) - torch.xlogy(p, q)).sum(dim=-1)


def overlap(p: Float[Tensor, "*batch d_vocab"], q: Float[Tensor, "*batch d_vocab"], k: int) -> Float[Tensor, "*batch"]:
    """The share of the k most probable tokens that both have."""
    return _among_both(p, q, k).double().sum(dim=-1) / k


def overlap_cosine(
    p: Float[Tensor, "*batch d_vocab"], q: Float[Tensor, "*batch d_vocab"], k: int, inside: bool = False
) -> Float[Tensor, "*batch"]:
    """OCS: the cosine of probabilities over the common tokens, lowered for each token that is not common.

    inside:  K - |O| stands under the root, beside the product; the other reading of the paper's formula
    """
    common = _among_both(p, q, k)
    p, q = p.double() * common, q.double() * common
    missing = k - common.sum(dim=-1)
    squares = p.square().sum(dim=-1) * q.square().sum(dim=-1)
    below = (squares + missing).sqrt() if inside else squares.sqrt() + missing
    return (p * q).sum(dim=-1) / below


def _among_both(p: Tensor, q: Tensor, k: int) -> Tensor:
    chosen = (torch.zeros_like(x, dtype=torch.bool).scatter(-1, x.topk(k, dim=-1).indices, True) for x in (p, q))
    one, other = chosen
    return one & other
