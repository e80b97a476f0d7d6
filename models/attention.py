"""Attention over a context, as pure functions of q, k and v."""

from __future__ import annotations

import torch
from jaxtyping import Float
from torch import Tensor

_BLOCK = 128  # queries at a time: their scores are small beside q and k, and large enough for the matrix product


def linear_attention(
    q: Float[Tensor, "*batch query d_head"],
    k: Float[Tensor, "*batch key d_head"],
    v: Float[Tensor, "*batch key d_head"],
) -> Float[Tensor, "*batch query d_head"]:
    """(q k^T) v without softmax, scale or mask: time and memory linear in the number of keys.

    Matrix products are associative, so the smaller intermediate is formed: [query, key] for short contexts and single
    queries, [d_head, d_head] for long ones.
    """
    if q.shape[-2] * k.shape[-2] > q.shape[-1] * v.shape[-1]:
        return q @ (k.mT @ v)
    return linear_pattern(q, k) @ v


def linear_pattern(
    q: Float[Tensor, "*batch query d_head"], k: Float[Tensor, "*batch key d_head"]
) -> Float[Tensor, "*batch query key"]:
    """Raw scores q k^T: what linear attention uses in place of a pattern."""
    return q @ k.mT


def softmax_pattern(
    q: Float[Tensor, "*batch query d_head"], k: Float[Tensor, "*batch key d_head"]
) -> Float[Tensor, "*batch query key"]:
    """softmax(q k^T / sqrt(d_head)) over the keys."""
    return (q @ k.mT / q.shape[-1] ** 0.5).softmax(dim=-1)


def masked_scores(
    q: Float[Tensor, "batch head query d_head"],
    k: Float[Tensor, "batch kv_head key d_head"],
    scale: float,
    causal: bool = True,
    soft_cap: float | None = None,
    window: int | None = None,
    first: int = 0,
) -> Float[Tensor, "batch head query key"]:
    """scale * q k^T, capped softly where asked, and -inf where a query does not see a key.

    Query head h uses key-value head h // (heads / kv heads). The queries are those from position `first` on.
    """
    grouped = q.unflatten(1, (k.shape[1], -1))
    scores = (scale * (grouped @ k[:, :, None].mT)).flatten(1, 2)
    if soft_cap is not None:
        scores = soft_cap * (scores / soft_cap).tanh()
    positions = torch.arange(k.shape[-2], device=q.device)
    back = positions[first : first + q.shape[-2], None] - positions
    hidden = back < 0 if causal else torch.zeros_like(back, dtype=torch.bool)
    if window is not None:
        hidden = hidden | (back.abs() >= window)
    return scores.masked_fill(hidden, -torch.inf)


def log_normaliser(
    q: Float[Tensor, "batch head pos d_head"],
    k: Float[Tensor, "batch kv_head pos d_head"],
    scale: float,
    causal: bool = True,
    soft_cap: float | None = None,
    window: int | None = None,
) -> Float[Tensor, "batch head pos"]:
    """log of the softmax's denominator at every query, by blocks of queries: no pattern of the whole is formed."""
    kind = torch.promote_types(q.dtype, torch.float32)
    blocks = []
    for first in range(0, q.shape[2], _BLOCK):
        last = first + _BLOCK
        keys = k[:, :, :last] if causal else k  # later ones are hidden anyway
        scores = masked_scores(q[:, :, first:last].to(kind), keys.to(kind), scale, causal, soft_cap, window, first)
        blocks.append(scores.logsumexp(dim=-1))
    return torch.cat(blocks, dim=-1)
