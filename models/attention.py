"""Attention over a context, as pure functions of q, k and v."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

_BLOCK = 128  # queries at a time: their scores are small compared with q and k, and large enough for the matrix product
_NUMBERS = 2**23  # scores at a time, in all sequences and heads: 32 MiB in float32
_KERNEL = getattr(torch.ops.aten, "_scaled_dot_product_flash_attention_for_cpu", None)
_KERNEL_DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)


class Scoring(NamedTuple):
    """How q and k give the scores of a layer.

        score[i, j] = scale * q[i] . k[j] - slopes (i - j)
        score <- soft_cap * tanh(score / soft_cap)

    causal:  i attends to j <= i
    window:  i attends to |i - j| < window
    slopes:  one for each head: later keys count more (ALiBi, Press et al. 2022, arXiv 2108.12409)
    """

    scale: float
    causal: bool = True
    soft_cap: float | None = None
    window: int | None = None
    slopes: Float[Tensor, "head"] | None = None


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


def causal_linear_attention(
    q: Float[Tensor, "*batch query d_head"],
    k: Float[Tensor, "*batch key d_head"],
    v: Float[Tensor, "*batch key d_head"],
) -> Float[Tensor, "*batch query d_head"]:
    """The same where query i attends to keys j <= i. Time is linear, too: of earlier blocks Σ k v^T is all it reads."""
    z = linear_pattern(q[..., :_BLOCK, :], k[..., :_BLOCK, :], causal=True) @ v[..., :_BLOCK, :]
    if q.shape[-2] <= _BLOCK:
        return z
    parts, held = [z], k[..., :_BLOCK, :].mT @ v[..., :_BLOCK, :]
    for first in range(_BLOCK, q.shape[-2], _BLOCK):
        asked, keys, values = (x[..., first : first + _BLOCK, :] for x in (q, k, v))
        parts.append(asked @ held + linear_pattern(asked, keys, causal=True) @ values)
        held = held + keys.mT @ values
    return torch.cat(parts, dim=-2)


def linear_pattern(
    q: Float[Tensor, "*batch query d_head"], k: Float[Tensor, "*batch key d_head"], causal: bool = False
) -> Float[Tensor, "*batch query key"]:
    """Raw scores q k^T: what linear attention uses in place of a pattern. If causal, 0 for keys after a query."""
    return (q @ k.mT).tril() if causal else q @ k.mT


def softmax_pattern(
    q: Float[Tensor, "*batch query d_head"], k: Float[Tensor, "*batch key d_head"], causal: bool = False
) -> Float[Tensor, "*batch query key"]:
    """softmax(q k^T / sqrt(d_head)) over the keys; if causal, over those that are not after a query."""
    scores = q @ k.mT / q.shape[-1] ** 0.5
    if causal:
        later = torch.ones_like(scores, dtype=torch.bool).triu(diagonal=1)
        scores = scores.masked_fill(later, -torch.inf)
    return scores.softmax(dim=-1)


def masked_scores(
    q: Float[Tensor, "batch head query d_head"],
    k: Float[Tensor, "batch kv_head key d_head"],
    scale: float,
    causal: bool = True,
    soft_cap: float | None = None,
    window: int | None = None,
    slopes: Float[Tensor, "head"] | None = None,
    first: int = 0,
) -> Float[Tensor, "batch head query key"]:
    """scale * q k^T, less the slopes' share, soft-capped if `soft_cap` is set, and -inf where a query does not attend
    to a key; see `Scoring`.

    Query head h uses key-value head h // (heads / kv heads). `first` is the position of the first query.
    """
    grouped = q.unflatten(1, (k.shape[1], -1))
    scores = (grouped @ k[:, :, None].mT).mul_(scale).flatten(1, 2)
    back = torch.arange(first, first + q.shape[-2], device=q.device)[:, None]
    back = back - torch.arange(k.shape[-2], device=q.device)
    if slopes is not None:
        scores = scores - slopes.to(scores)[:, None, None] * back
    scores = soft_capped(scores, soft_cap)
    return scores.masked_fill_(hidden(back, causal, window), -torch.inf)


def soft_capped(scores: Float[Tensor, "*batch"], cap: float | None) -> Float[Tensor, "*batch"]:
    """cap * tanh(scores / cap); the scores unchanged if cap is None."""
    return scores if cap is None else cap * (scores / cap).tanh()


def hidden(back: Int[Tensor, "*batch"], causal: bool, window: int | None) -> Bool[Tensor, "*batch"]:
    """Whether the mask hides the key `back` positions before a query."""
    unseen = back < 0 if causal else torch.zeros_like(back, dtype=torch.bool)
    return unseen if window is None else unseen | (back.abs() >= window)


def in_float32(x: Float[Tensor, "*batch"]) -> Float[Tensor, "*batch"]:
    """In float32 at least: kernels for half precision also compute scores and their sums in float32."""
    return x.to(torch.promote_types(x.dtype, torch.float32))


def blocks_of(queries: int, causal: bool = True, row: int = 0) -> Iterator[tuple[int, int, int]]:
    """Blocks of queries, (first, last, keys): queries first to last - 1 attend to keys below `keys` only.

    row:  numbers in one query's scores, over all sequences and heads; larger rows give smaller blocks
    """
    size = max(1, min(_BLOCK, _NUMBERS // max(row, 1)))
    for first in range(0, queries, size):
        last = min(first + size, queries)
        yield first, last, last if causal else queries


def log_normaliser(
    q: Float[Tensor, "batch head pos d_head"],
    k: Float[Tensor, "batch kv_head pos d_head"],
    scale: float,
    causal: bool = True,
    soft_cap: float | None = None,
    window: int | None = None,
    slopes: Float[Tensor, "head"] | None = None,
) -> Float[Tensor, "batch head pos"]:
    """log of the softmax's denominator at every query, computed by blocks of queries, without the whole pattern."""
    n = q.shape[2]
    q, k = in_float32(q), in_float32(k)
    found = q.new_empty(q.shape[:3])
    for first, last, keys in blocks_of(n, causal, row=q.shape[0] * q.shape[1] * n):
        scores = masked_scores(q[:, :, first:last], k[:, :, :keys], scale, causal, soft_cap, window, slopes, first)
        found[:, :, first:last] = scores.logsumexp(dim=-1)
    return found


def with_sinks(
    normaliser: Float[Tensor, "batch head pos"], sinks: Float[Tensor, "head"] | None
) -> Float[Tensor, "batch head pos"]:
    """The log-normaliser with each head's sink, a learned logit without a key (GPT-OSS), in the denominator."""
    return normaliser if sinks is None else torch.logaddexp(normaliser, sinks.to(normaliser)[:, None])


def flash_attention(
    q: Float[Tensor, "batch head pos d_head"],
    k: Float[Tensor, "batch kv_head pos d_head"],
    v: Float[Tensor, "batch kv_head pos d_value"],
    scale: float,
    causal: bool = True,
    soft_cap: float | None = None,
    window: int | None = None,
    slopes: Float[Tensor, "head"] | None = None,
) -> tuple[Float[Tensor, "batch head pos d_value"], Float[Tensor, "batch head pos"]] | None:
    """softmax(scale * q k^T) v and the log-normaliser from one call of torch's kernel for CPUs.

    It is the kernel behind `scaled_dot_product_attention`, which drops the log-normaliser. Returns None if the kernel
    does not apply: other devices, soft caps, slopes, windows shorter than the context, values of another width than
    keys, dtypes other than float64, float32, bfloat16 and float16, or a torch without the kernel.
    """
    unmodified = soft_cap is None and slopes is None and (window is None or q.shape[2] <= window)
    contiguous_heads = q.shape[-1] == v.shape[-1] and q.stride(-1) == k.stride(-1) == v.stride(-1) == 1
    if (
        _KERNEL is None
        or q.device.type != "cpu"
        or q.dtype not in _KERNEL_DTYPES
        or not (unmodified and contiguous_heads)
    ):
        return None
    group = q.shape[1] // k.shape[1]
    k, v = (x if group == 1 else x.repeat_interleave(group, dim=1) for x in (k, v))
    return _KERNEL(q, k, v, is_causal=causal, scale=scale)
