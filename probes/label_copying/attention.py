"""How much attention x tokens pay to the token that follows them and holds their label.

With the pattern A of a head, queries by keys, and N pairs at tokens 2i (x) and 2i + 1 (y):

    next attention         mean over i of A[2i, 2i + 1]                           as it stands: linear scores, too
    prefix-matching score  mean over i of |A[2i, 2i + 1]| / Σ_j |A[2i, j]|        a share, for every kind of attention

The token that a head attends to is the one to be copied, which is what Olsson et al. 2022 ask of an induction head.
There it follows an earlier copy of the query's token. Here nothing repeats, and it follows the query itself.
"""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

Pattern = Float[Tensor, "task head token key"]


def next_attention(pattern: Pattern) -> Float[Tensor, "task head"]:
    """Mean attention of a context's x tokens to their labels' tokens."""
    return _to_labels(pattern).mean(dim=-1)


def label_share(pattern: Pattern) -> Float[Tensor, "task head"]:
    """The prefix-matching score. A token that pays no attention at all pays none to its label."""
    paid = pattern.abs()
    return (_to_labels(paid) / _of_x(paid).sum(dim=-1).clamp_min(torch.finfo(paid.dtype).tiny)).mean(dim=-1)


def label_edges(n_tokens: int, n_keys: int) -> Float[Tensor, "token key"]:
    """1 where an x token of the context meets its label's token."""
    edges = torch.zeros(n_tokens, n_keys, dtype=torch.float64)
    x = torch.arange(0, n_tokens - 1, 2)
    edges[x, x + 1] = 1.0
    return edges


def _of_x(pattern: Pattern) -> Float[Tensor, "task head pair key"]:
    """The rows of a context's x tokens."""
    return pattern[:, :, : pattern.shape[2] - 1 : 2]


def _to_labels(pattern: Pattern) -> Float[Tensor, "task head pair"]:
    rows = _of_x(pattern)
    return rows[..., 1 : 2 * rows.shape[2] : 2].diagonal(dim1=-2, dim2=-1)
