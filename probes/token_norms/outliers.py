"""Outliers among activations: formulas for tensors from anywhere. What stands out is detected, never looked up.

massive activations  a few entries of the state that are thousands of times the typical one (Sun et al. 2024, arXiv
                     2402.17762): above 100, and above 1,000 times the median |entry| of the state of a sequence
attention sinks      much attention to the first token (Gu et al. 2024, arXiv 2410.10781; Ran-Milo et al. 2026, arXiv
                     2604.14722)
anisotropy           states of unrelated tokens point the same way (Ethayarajh 2019, arXiv 1909.00512), often because of
                     few rogue dimensions (Timkey & van Schijndel 2021, arXiv 2109.04404)
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Bool, Float, Float64, Int
from torch import Tensor

from ...models.subject import AttentionScores
from .lengths import lengths

LARGE = 100.0
MANY_TIMES = 1_000.0
TOP = 3
SINK_TOKENS, SINK_SHARE = 64, 0.3


class Extremes(NamedTuple):
    """Of each sequence's state: the largest |entries|, the median |entry|, and the largest |entry| a dimension.

    The leading axis of `top` and `dimensions` is which tokens: the first, and those after it.
    """

    top: Float64[Tensor, "2 batch rank"]
    dimensions: Float64[Tensor, "2 batch d_model"]
    median: Float64[Tensor, " batch"]


def extremes(state: Float[Tensor, "batch pos d_model"]) -> Extremes:
    """Of an even number of entries the median is the lower of the two in the middle. At least two tokens."""
    size = state.abs()
    size = size.float() if size.dtype.itemsize < 4 else size
    places = size[:, :1], size[:, 1:]
    return Extremes(
        torch.stack([_top(of_place.flatten(1)) for of_place in places]).double(),
        torch.stack([of_place.amax(dim=1) for of_place in places]).double(),
        size.flatten(1).median(dim=1).values.double(),
    )


def _top(entries: Float[Tensor, "batch entry"]) -> Float[Tensor, "batch rank"]:
    """The largest, in order; NaN where there are fewer entries than ranks."""
    found = entries.topk(min(TOP, entries.shape[1])).values
    return torch.nn.functional.pad(found, (0, TOP - found.shape[1]), value=torch.nan)


def massive(size: Float[np.ndarray, "*batch entry"], median: Float[np.ndarray, "*batch"]) -> np.ndarray:
    """Whether |entries| are massive beside the median |entry| of their state."""
    return (size > LARGE) & (size >= MANY_TIMES * median[..., None])


def massive_dimensions(found: Extremes) -> Bool[np.ndarray, "2 batch d_model"]:
    """Where an entry is massive, of the first token or of any after it."""
    median = np.broadcast_to(found.median.cpu().numpy(), found.dimensions.shape[:2])
    return np.asarray(massive(found.dimensions.cpu().numpy(), median))


def massive_windows(state: Float[Tensor, "batch pos d_model"]) -> Bool[np.ndarray, "batch 2"]:
    """Whether the first token of a sequence has a massive entry, and whether any after it has."""
    if not (state.abs() > LARGE).any():  # medians take long
        return np.zeros((len(state), 2), dtype=bool)
    return np.asarray(massive_dimensions(extremes(state)).any(axis=-1)).T


def sink_importance(scores: AttentionScores) -> Float64[Tensor, "batch head"]:
    """Mean attention to the first token, over the first 64 queries, itself included (Gu et al.: imp_1, T = 64).

    In causal attention later tokens do not change it. In other models it is the mean over all queries.
    """
    queries = SINK_TOKENS if scores.causal else scores.q.shape[2]
    return scores.to_key(0)[..., :queries].double().mean(dim=-1)


def first_attention(scores: AttentionScores) -> Float64[Tensor, "batch head"]:
    """Mean attention to the first token over the second half of the queries (Ran-Milo et al.: BOS-attention)."""
    return scores.to_key(0)[..., (scores.q.shape[2] + 1) // 2 :].double().mean(dim=-1)


def directions(states: Float[Tensor, "*batch d_model"]) -> Float64[Tensor, "*batch d_model"]:
    """States of length one; those of zeros stay."""
    wide = states.double()
    length = lengths(wide)[..., None]
    return wide / length.masked_fill(length == 0, 1)


def contributions(
    total: Float[np.ndarray, "*sample d_model"],
    squares: Float[np.ndarray, "*sample d_model"],
    n: Float[np.ndarray, "*sample"],
) -> Float[np.ndarray, "*sample d_model"]:
    """What each dimension adds to the mean cosine of two different tokens; the sum is the anisotropy.

    total, squares:  sums over n directions, and over their squares. All n(n - 1) pairs are in it, at the cost of n.
    """
    return (total**2 - squares) / (n * (n - 1))[..., None]


def anisotropy(
    total: Float[np.ndarray, "*sample d_model"], n: Float[np.ndarray, "*sample"]
) -> Float[np.ndarray, "*sample"]:
    """Mean cosine of two different tokens, from the sum over n directions: (‖total‖² - n) / (n (n - 1)).

    Exact where no state is zero.
    """
    return np.asarray(((total**2).sum(axis=-1) - n) / (n * (n - 1)))


def rogue(values: Float[np.ndarray, "*layer d_model"]) -> Int[np.ndarray, "*layer rank"]:
    """The dimensions with the largest |values|, the largest first, the lower index first among equals."""
    return np.argsort(-np.abs(values), axis=-1, kind="stable")[..., :TOP]
