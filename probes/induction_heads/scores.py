"""Induction heads and their neighbours, as scores of attention (Olsson et al. 2022, arXiv 2209.11895).

The formulas read attention patterns, or `AttentionScores` (q, k and the log-normaliser), of which no pattern is formed.
They need no model and no loader of ours. On sequences [BOS] r r …, r of S different tokens, T tokens in all:

    prefix matching   attention to the tokens that follow earlier occurrences of the current one, mean over the queries
                      of the second r and later ones. Two repeats after BOS: mean over i = S+1 … 2S of A[i, i-S+1]
    duplicate token   attention to the earlier occurrences themselves, over the same queries: A[i, i-S]
    previous token    mean over i >= 1 of A[i, i-1]
    current token     mean over i >= 1 of A[i, i]          (query 0 sees nothing but itself: it has no choice)
    first token       mean over i >= 1 of A[i, 0]

A head that does one of these alone scores 1, whatever T and S are; on two repeats, attention spread evenly over what is
seen scores about ln(2) / S in the first two. Definitions of other libraries: `compatibility_scores`. All are
[batch head], one a sequence, in float64. `matching_attention` finds matches by the tokens' identity, in any text.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from ...data.errors import TaskError
from ...models.attention import blocks_of
from ...models.subject import AttentionScores

Attention = Float[Tensor, "batch head pos pos"] | AttentionScores
"""One layer's attention: its pattern [query, key], or q, k and the log-normaliser."""


def prefix_matching_score(attention: Attention, period: int) -> Float64[Tensor, "batch head"]:
    """Attention to what followed earlier occurrences of the current token, on [BOS] r r …, r of `period` tokens.

    With more than two repeats a query's attention to all of its earlier followers is summed. On sequences that do not
    repeat it is the same read-out without anything to match: a control. TaskError when the length is neither a multiple
    of the period nor one more, or holds no repeat.
    """
    return _over_repeats(attention, period, after=1)


def duplicate_token_score(attention: Attention, period: int) -> Float64[Tensor, "batch head"]:
    """Attention to earlier occurrences of the current token, on [BOS] r r …; summed and refused as prefix matching."""
    return _over_repeats(attention, period, after=0)


def previous_token_score(attention: Attention) -> Float64[Tensor, "batch head"]:
    """Mean attention to the token before the current one."""
    _needs_two(attention)
    return _mean(at_offset(attention, 1))


def current_token_score(attention: Attention) -> Float64[Tensor, "batch head"]:
    """Mean attention to the current token itself; query 0, which sees no other, is left out."""
    _needs_two(attention)
    return _mean(at_offset(attention, 0)[..., 1:])


def first_token_score(attention: Attention) -> Float64[Tensor, "batch head"]:
    """Mean attention to the sequence's first token; query 0, which sees no other, is left out."""
    _needs_two(attention)
    paid = attention.to_key(0) if isinstance(attention, AttentionScores) else attention[..., 0]
    return _mean(paid[..., 1:])


def attention_by_offset(attention: Attention, first: int = 0) -> Float64[Tensor, "batch head offset"]:
    """Mean of A[i, i - offset] over the queries i from `first` on that have such a key: offsets 0 … T-1."""
    n = length(attention)
    if not 0 <= first < n:
        raise TaskError(f"first query {first}: expected 0 to {n - 1}, there are {n} tokens")
    total, queries = _zeros(attention, n), torch.arange(n)
    for start, block in blocks(attention):
        late = block[:, :, max(first - start, 0) :]
        if late.shape[2]:
            _add_by_offset(total, late, max(first, start))
    return total / (n - queries.clamp(min=first)).to(total)


@dataclass(frozen=True)
class Matching:
    """Attention to matches, at each query, and what the same offsets get where they are no match.

    attention:  summed over the query's matches; 0 where it has none
    control:    for each match at an offset o, the mean of A[i, i-o] over the sequence's queries i that have no match at
                o, summed over the query's matches. NaN where an offset has no such query. Key 0, which follows nothing
                and draws attention for being first, is never read
    matches:    how many matches the query has
    """

    attention: Float64[Tensor, "batch head query"]
    control: Float64[Tensor, "batch head query"]
    matches: Int[Tensor, "batch query"]

    @property
    def score(self) -> Float64[Tensor, "batch head"]:
        """Mean attention over the queries that have a match; NaN in a sequence without any."""
        return self._mean(self.attention, self.matches[:, None] > 0)

    @property
    def excess(self) -> Float64[Tensor, "batch head"]:
        """Mean of attention - control over the queries that have a match and a control; NaN where none has."""
        paired = (self.matches[:, None] > 0) & ~self.control.isnan()
        return self._mean(self.attention - self.control, paired)

    @staticmethod
    def _mean(values: Tensor, counted: Tensor) -> Tensor:
        return torch.where(counted, values, 0).sum(-1) / counted.sum(-1)


def matching_attention(attention: Attention, tokens: Int[Tensor, "batch pos"], after: int = 1) -> Matching:
    """Attention to the tokens `after` places behind earlier occurrences of the current token, in any text.

    after:  1, what followed them (prefix matching), or 0, the occurrences themselves (duplicate tokens)

    By blocks of queries: patterns of the whole are formed only where they are given.
    """
    n, tokens = length(attention), beside(attention, tokens)
    paid, all_paid, matched_paid = (_zeros(attention, n) for _ in range(3))
    counts, places = torch.zeros_like(tokens), torch.zeros_like(tokens)
    for first, block in blocks(attention):
        sequence, query, key = _places(tokens, after, first, first + block.shape[2])
        values = block[sequence, :, query - first, key].double()
        later = (key > 0)[:, None]
        _add_at(paid, sequence, query, values)
        _add_at(matched_paid, sequence, query - key, values * later)
        _add_at(counts[:, None], sequence, query, torch.ones_like(later, dtype=counts.dtype))
        _add_at(places[:, None], sequence, query - key, later.to(counts))
        _add_by_offset(all_paid, block, first, from_key=1)
    free = torch.arange(n - 1, -1, -1, device=tokens.device) - places  # queries with a key there that is not key 0
    control = (all_paid - matched_paid) / free[:, None]
    return Matching(paid, _at_matches(tokens, after, control), counts)


def matches(tokens: Int[Tensor, "batch pos"], after: int, first: int, last: int) -> Bool[Tensor, "batch query key"]:
    """Whether key j of queries first … last - 1 stands `after` places behind an earlier occurrence of x_i; j < last."""
    queries = torch.arange(first, last, device=tokens.device)[:, None]
    keys = torch.arange(last, device=tokens.device)
    behind = tokens[:, (keys - after).clamp(min=0)]
    same = tokens[:, first:last, None] == behind[:, None]
    return same & (keys >= after) & (keys < queries + after)


def length(attention: Attention) -> int:
    """Tokens in the sequence."""
    return _like(attention).shape[2]


def beside(attention: Attention, tokens: Int[Tensor, "batch pos"]) -> Int[Tensor, "batch pos"]:
    """The tokens on the device where the attention is. TaskError when they are not those that it is of."""
    like = _like(attention)
    if tokens.shape != (like.shape[0], like.shape[2]):
        raise TaskError(
            f"tokens {list(tokens.shape)}: expected [{like.shape[0]}, {like.shape[2]}], the attention is of so many"
        )
    return tokens.to(like.device)


def blocks(attention: Attention) -> Iterator[tuple[int, Float[Tensor, "batch head query key"]]]:
    """The pattern by blocks of queries, each with its first query."""
    if isinstance(attention, AttentionScores):
        yield from attention.blocks()
        return
    batch, heads, n, _ = attention.shape
    for first, last, _ in blocks_of(n, row=batch * heads * n):
        yield first, attention[:, :, first:last]


def at_offset(attention: Attention, offset: int) -> Float[Tensor, "batch head query"]:
    """A[i, i - offset] of the queries i = offset, …"""
    if isinstance(attention, AttentionScores):
        return attention.at_offset(offset)
    return attention.diagonal(-offset, -2, -1)


def _over_repeats(attention: Attention, period: int, after: int) -> Float64[Tensor, "batch head"]:
    """Attention to `after` places behind every earlier occurrence, mean over the queries from the second repeat on."""
    n = length(attention)
    start = n % max(period, 1)
    if period < 2 or start > 1 or n - start < 2 * period:
        raise TaskError(
            f"period {period} and {n} tokens: expected a period of at least 2 and a length of two or more periods,"
            " or one token more (BOS)"
        )
    total = _zeros(attention, 1)[..., 0]
    for back in range(period, n - start, period):  # queries from start + back on have an occurrence so far back
        total += at_offset(attention, back - after)[..., start + after :].sum(-1, dtype=torch.float64)
    return total / (n - start - period)


def _places(tokens: Int[Tensor, "batch pos"], after: int, first: int, last: int) -> tuple[Tensor, Tensor, Tensor]:
    """Sequence, query and key of every match of queries first … last - 1."""
    sequence, query, key = matches(tokens, after, first, last).nonzero(as_tuple=True)
    return sequence, query + first, key


def _at_matches(
    tokens: Int[Tensor, "batch pos"], after: int, by_offset: Float64[Tensor, "batch head offset"]
) -> Float64[Tensor, "batch head query"]:
    """Values of the offsets of a query's matches, summed."""
    found, n = torch.zeros_like(by_offset), tokens.shape[1]
    for first, last, _ in blocks_of(n, row=tokens.numel()):
        sequence, query, key = _places(tokens, after, first, last)
        _add_at(found, sequence, query, by_offset[sequence, :, query - key])
    return found


def _add_at(total: Tensor, sequence: Tensor, place: Tensor, values: Tensor) -> None:
    """total[sequence, :, place] += values, [match head], where places may come more than once."""
    total.mT.index_put_((sequence, place), values, accumulate=True)


def _add_by_offset(
    total: Float64[Tensor, "batch head offset"],
    block: Float[Tensor, "batch head query key"],
    first: int,
    from_key: int = 0,
) -> None:
    """Add the sums along a block's diagonals, offset by offset; its queries are those from `first` on."""
    n = block.shape[2]
    last = first + n
    width = n + last
    flat = block.new_zeros(*block.shape[:2], n * (width + 1))
    flat[..., : n * width].unflatten(-1, (n, width))[..., n + from_key :] = block[..., from_key:last]
    # read with rows one longer, each row starts one column earlier than the last: offset o stands in column last - o
    sums = flat.unflatten(-1, (n, width + 1)).sum(-2, dtype=torch.float64)
    total[..., :last] += sums[..., 1 : last + 1].flip(-1)


def _like(attention: Attention) -> Tensor:
    """A tensor [batch, head, pos, …] of it."""
    return attention.q if isinstance(attention, AttentionScores) else attention


def _zeros(attention: Attention, n: int) -> Float64[Tensor, "batch head number"]:
    like = _like(attention)
    return torch.zeros(*like.shape[:2], n, dtype=torch.float64, device=like.device)


def _mean(paid: Float[Tensor, "batch head query"]) -> Float64[Tensor, "batch head"]:
    return paid.mean(-1, dtype=torch.float64)


def _needs_two(attention: Attention) -> None:
    if length(attention) < 2:
        raise TaskError(f"{length(attention)} token: expected at least two, one alone sees nothing but itself")
