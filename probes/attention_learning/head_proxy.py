"""What a token says about the next one by occurring before it, read off other sequences."""

from __future__ import annotations

import torch
from jaxtyping import Int
from torch import Tensor
from torch.nn.functional import pad

from ..head_sequences import Sequences, queries_of
from .proxy import Proxy, fitted_proxy

BAGS = 1024
"""Queries that it is fitted to, at most."""
NO_OTHERS = (
    "co-occurrence is fitted to other sequences than those that the model reads, and the file holds no others; give a"
    " longer one, or read fewer sequences (--n-sequences)"
)


def fitted_head_proxy(others: Sequences | None, d_vocab: int) -> Proxy | str:
    """Fitted to queries of the other sequences; or why there is none. The bag of a query is what it may attend to."""
    if others is None:
        return NO_OTHERS
    return fitted_proxy(*bags_of(others), d_vocab)


def bags_of(others: Sequences) -> tuple[Int[Tensor, "bag place"], Int[Tensor, "bag 1"]]:
    """All tokens up to each query, and the token after it; -1 fills the rest of a bag."""
    bags, targets = [], []
    for tokens in others.groups:
        length = tokens.shape[1]
        queries = torch.tensor(queries_of(length - 1, max(1, BAGS // len(others))))
        seen = torch.arange(length) <= queries[:, None]
        rows = torch.where(seen, tokens[:, None], -1).flatten(0, 1)
        bags.append(pad(rows, (0, others.length - length), value=-1))
        targets.append(tokens[:, queries + 1].flatten()[:, None])
    return torch.cat(bags), torch.cat(targets)
