"""Which tokens are the longest or the shortest, and which carry the largest activations: with where they stand.

Each token of the vocabulary counts once, at its most extreme occurrence, so that one frequent word does not fill the
list. What is kept does not grow with the text.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int

from ...data.corpus import Windows
from .accumulator import index_in_document

BEFORE, AFTER = 8, 4
"""Tokens of the same window that are kept as the context."""


@dataclass(frozen=True)
class Entry:
    """The largest |entry| of a token's state: its dimension, its value with the sign, and the median |entry| of the
    window's states.
    """

    dimension: int
    value: float
    median: float


@dataclass(frozen=True)
class Occurrence:
    """One token where it stands.

    position:       in its window, BOS counted
    document:       which of the text's
    index:          in the document, BOS not counted; -1 for a BOS
    before, after:  the tokens beside it, BOS left out
    entry:          where the value is that of a single entry
    """

    value: float
    token: int
    position: int
    document: int
    index: int
    before: tuple[int, ...]
    after: tuple[int, ...]
    entry: Entry | None = None


def most_extreme(
    values: Float[np.ndarray, " token"], ids: Int[np.ndarray, " token"], most: int, largest: bool
) -> Int[np.ndarray, " place"]:
    """Where the most extreme values stand, in their order: of each id the most extreme one, the first among equals."""
    order = np.argsort(-values if largest else values, kind="stable")
    order = order[np.isfinite(values[order])]
    _, first = np.unique(ids[order], return_index=True)
    return order[np.sort(first)[:most]]


def merged(held: Sequence[Occurrence], found: Sequence[Occurrence], most: int, largest: bool) -> list[Occurrence]:
    """The most extreme of both. Those held came earlier in the text, and win a tie."""
    both = [*held, *found]
    values, ids = np.array([one.value for one in both]), np.array([one.token for one in both], dtype=np.int64)
    return [both[place] for place in most_extreme(values, ids, most, largest)]


def occurrence(windows: Windows, bos: int | None, window: int, position: int, value: float) -> Occurrence:
    """The token at a place of a batch, with its context."""
    ids = windows.tokens[window].tolist()
    begin = int(bos is not None)
    return Occurrence(
        value=value,
        token=ids[position],
        position=position,
        document=int(windows.document[window]),
        index=int(index_in_document(windows, bos, np.array([window]), np.array([position]))[0]),
        before=tuple(ids[max(begin, position - BEFORE) : position]),
        after=tuple(ids[position + 1 : position + 1 + AFTER]),
    )
