"""The most extreme tokens in words: rows of the report, with where each stands in the text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np

from ..findings import Cell, Examples
from .extreme_tokens import Occurrence
from .names import LARGEST, LONGEST, SHORTEST
from .outliers import massive

Words = Callable[[Sequence[int]], str]
WHICH = ("layer", "rank", "token", "id")
WHERE = ("position", "document", "index", "context")
NUMBERS = {
    LONGEST: ("norm",),
    SHORTEST: ("norm",),
    LARGEST: ("activation", "dimension", "times the median", "massive"),
}
"""Columns under each name, between which token it is and where it stands."""


def token_rows(found: Mapping[str, Mapping[int, Sequence[Occurrence]]], words: Words | None) -> dict[str, Examples]:
    """By name a row a token: of every layer the most extreme one, the last layer first, then the second of each.

    words:  tells the text of token ids; None: nobody knows it, and ids stand in its place
    """
    return {
        name: Examples((*WHICH, *NUMBERS[name], *WHERE), tuple(_rows(by_layer, words)))
        for name, by_layer in found.items()
    }


def _rows(by_layer: Mapping[int, Sequence[Occurrence]], words: Words | None) -> list[tuple[Cell, ...]]:
    ranked = [(rank, layer, one) for layer, held in by_layer.items() for rank, one in enumerate(held, 1)]
    return [
        (
            layer,
            rank,
            None if words is None else words([one.token]),
            one.token,
            *_numbers(one),
            one.position,
            one.document,
            one.index,
            in_context(one, words),
        )
        for rank, layer, one in sorted(ranked, key=lambda row: (row[0], -row[1]))
    ]


def _numbers(one: Occurrence) -> tuple[Cell, ...]:
    if one.entry is None:
        return (one.value,)
    median = one.entry.median
    is_massive = bool(massive(np.array([one.value]), np.array(median))[0])
    times = one.value / median if median > 0 else float("inf")
    return one.entry.value, one.entry.dimension, times, "yes" if is_massive else "no"


def in_context(one: Occurrence, words: Words | None) -> str:
    """The token in brackets, with the tokens beside it: `the dog [chased] a cat`."""
    write = words or (lambda ids: " ".join(map(str, ids)))
    before, token, after = (write(ids).strip() for ids in (one.before, [one.token], one.after))
    return f"{before} [{token}] {after}".strip()
