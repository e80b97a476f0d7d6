"""Attention over a context, as pure functions of q, k and v."""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor


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
