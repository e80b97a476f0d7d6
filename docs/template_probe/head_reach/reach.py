"""The formula: how far back attention goes, from a pattern alone. It needs no model and no loader.

    reach = sum A[i, j] (i - j)  /  sum A[i, j]          over queries i > first and keys j from `first` to i

A[i, j] is the attention that query i pays to key j. Query `first` sees one key only, so it has no choice and is left
out. With first = 0 a query's attention sums to 1, and reach is the mean over queries of the expected distance. With
first = 1 the first token is no key: many heads rest on it when they have nothing to do (an attention sink), which says
nothing about how far they look.
"""

from __future__ import annotations

import torch
from einops import einsum
from jaxtyping import Float, Float64
from torch import Tensor


def reach(pattern: Float[Tensor, "batch head pos pos"], first: int = 0) -> Float64[Tensor, "batch head"]:
    """Mean distance in tokens, one number for each sequence and head; NaN where a head pays all attention elsewhere."""
    return reach_at(pattern, distances(pattern.shape[-1])[None], first)[0]


def reach_at(
    pattern: Float[Tensor, "batch head pos pos"], distance: Float64[Tensor, "draw pos pos"], first: int
) -> Float64[Tensor, "draw batch head"]:
    """The same for any distances [query, key] between tokens, several of them at once."""
    paid = pattern[:, :, first + 1 :, first:].double()
    far = distance[:, first + 1 :, first:].to(paid)
    total = einsum(paid, far, "batch head query key, draw query key -> draw batch head")
    return total / paid.sum(dim=(-2, -1))


def distances(n: int) -> Float64[Tensor, "pos pos"]:
    """Query i minus key j; keys that a causal query does not see get 0."""
    places = torch.arange(n, dtype=torch.float64)
    return (places[:, None] - places).clamp(min=0)


def shuffled_distances(n: int, draws: int, rng: torch.Generator, first: int = 0) -> Float64[Tensor, "draw pos pos"]:
    """The distances of the keys that a query sees, dealt out to these keys at random, query by query.

    Attention that is as sharp as a head's, but lands anywhere, reaches as far as the head does with these distances.
    """
    places = torch.arange(n)
    unseen = (places > places[:, None]) | (places < first)
    order = torch.rand(draws, n, n, generator=rng, dtype=torch.float64).masked_fill(unseen, 2.0)
    return order.argsort(dim=-1).argsort(dim=-1).double()  # ranks: a query that sees m keys has distances 0 … m - 1


def even_pattern(n: int) -> Float64[Tensor, "batch head pos pos"]:
    """Every query's attention spread evenly over the keys that it sees, as one sequence and one head."""
    seen = torch.ones(n, n, dtype=torch.float64).tril()
    return (seen / seen.sum(dim=-1, keepdim=True))[None, None]
