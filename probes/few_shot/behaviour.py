"""How a model answers queries, from its distributions over the vocabulary at the last position of prompts.

    accuracy among labels   the right label has the largest probability of all labels; ties share
    top-1 accuracy          the right label has the largest probability of all tokens; ties share
    Rec2FTP                 #(zs wrong, ft right, icl right) / #(zs wrong, ft right): zero-shot, fine-tuned, in context
    order sensitivity       the mean TV between the answers after two orders of the same demonstrations

Rec2FTP is that of Dai et al. 2023 (arXiv 2212.10559). A model that is always right in context has 100 %, whatever
fine-tuning does, so P(in context right | zero-shot wrong) stands beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from .distributions import total_variation


def accuracy_among(
    p: Float[Tensor, "*way query d_vocab"], labels: Int[Tensor, " label"], right: Int[Tensor, " query"]
) -> Float[Tensor, "*way query"]:
    """1 where the right label is the most probable of the labels, 1/n where it is one of n, 0 elsewhere.

    right:  the place of each query's label among `labels`
    """
    return _share_of_best(p[..., labels], right)


def top_accuracy(p: Float[Tensor, "*way query d_vocab"], answers: Int[Tensor, " query"]) -> Float[Tensor, "*way query"]:
    """The same among all tokens."""
    return _share_of_best(p, answers)


def chosen_probability(
    p: Float[Tensor, "*way query d_vocab"], labels: Int[Tensor, " label"]
) -> Float[Tensor, "*way query"]:
    """The probability of the most probable label. Confidence is that of the most probable token."""
    return p[..., labels].amax(dim=-1).double()


def confidence(p: Float[Tensor, "*way query d_vocab"]) -> Float[Tensor, "*way query"]:
    """The probability of the most probable token."""
    return p.amax(dim=-1).double()


@dataclass(frozen=True)
class Recovered:
    """How many queries context gets right of those that zero-shot gets wrong: that fine-tuning gets right, and of all.

    n, of:            in context right among fine-tuned right; their share is Rec2FTP
    null_n, null_of:  in context right among all that zero-shot gets wrong
    """

    n: int
    of: int
    null_n: int
    null_of: int

    @property
    def share(self) -> float | None:
        """None where fine-tuning gets no such query right."""
        return self.n / self.of if self.of else None

    @property
    def null(self) -> float | None:
        """None where zero-shot gets every query right."""
        return self.null_n / self.null_of if self.null_of else None

    def __str__(self) -> str:
        return f"{self.n}/{self.of}"


def recovered(
    zero_shot: Bool[Tensor, "*query"], fine_tuned: Bool[Tensor, "*query"], in_context: Bool[Tensor, "*query"]
) -> Recovered:
    """From which queries each gets right."""
    wrong = ~zero_shot
    counts = (wrong & fine_tuned & in_context, wrong & fine_tuned, wrong & in_context, wrong)
    return Recovered(*(int(count.sum()) for count in counts))


def order_sensitivity(p: Float[Tensor, "order query d_vocab"]) -> Float[Tensor, " query"]:
    """The mean over pairs of orders."""
    return torch.stack([total_variation(one, other) for one, other in combinations(p, 2)]).mean(dim=0)


def _share_of_best(p: Float[Tensor, "*way query token"], right: Int[Tensor, " query"]) -> Float[Tensor, "*way query"]:
    best = p == p.amax(dim=-1, keepdim=True)
    told = torch.take_along_dim(best, right.to(p.device).expand(p.shape[:-1])[..., None], dim=-1)[..., 0]
    return told.double() / best.sum(dim=-1)
