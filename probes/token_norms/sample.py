"""A sample of a text's tokens, whose memory has a bound: percentiles and ranks are taken of it.

All tokens are in it where they fit into `VALUES` numbers; else they are drawn before the first pass, without
replacement. Tokens at position 0 are drawn apart from the others.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float, Int

from .text import Text

VALUES = 2**22
"""Numbers of a sample: 32 MiB in float64."""
FIRST_SHARE = 8
"""Tokens at position 0 take at most one in so many of the sample's places: sequences are few, their tokens many."""
PLACES = ("first", "later")
"""Labels of the axis "position": position 0, which stands apart in every norm, and the positions after it."""


@dataclass(frozen=True, eq=False)
class TokenSample:
    """Sampled tokens, those at position 0 first, in the order in which they were read.

    position:         in its window
    document, index:  of the text's, and where it stands in that one, BOS not counted: -1 for a BOS
    columns:          quantities of every token, by name and layer
    n_tokens:         of the whole corpus
    """

    position: Int[np.ndarray, " token"]
    token: Int[np.ndarray, " token"]
    piece: Int[np.ndarray, " token"]
    document: Int[np.ndarray, " token"]
    index: Int[np.ndarray, " token"]
    columns: dict[tuple[str, int], Float[np.ndarray, " token"]]
    n_tokens: int

    @property
    def is_complete(self) -> bool:
        """Whether these are all tokens of the corpus."""
        return len(self.token) == self.n_tokens

    @property
    def described(self) -> str:
        """Which tokens these are, for messages."""
        return "of all tokens" if self.is_complete else f"of {len(self.token):,} tokens drawn from {self.n_tokens:,}"

    def has(self, name: str) -> bool:
        return (name, 0) in self.columns

    def column(self, name: str) -> Float[np.ndarray, "token layer"]:
        """One quantity in all its layers."""
        layers = sorted(layer for of, layer in self.columns if of == name)
        return np.stack([self.columns[name, layer] for layer in layers], axis=1)

    def rows_at(self, place: str) -> Int[np.ndarray, " row"]:
        """Rows of the tokens at a place: "first", "later" or "all"."""
        if place == "all":
            return np.arange(len(self.position))
        return np.flatnonzero((self.position > 0) == (place == "later"))


class SampledTokens(NamedTuple):
    """The tokens of one batch that are in the sample: where they stand in the batch, and their rows in the sample."""

    window: Int[np.ndarray, " sampled"]
    position: Int[np.ndarray, " sampled"]
    row: Int[np.ndarray, " sampled"]


class TokenDraw:
    """Decides batch by batch which tokens are in the sample.

    most:      so many tokens at position 0 at most, and so many after it
    followed:  tokens that end a window are left out: nothing is known to follow them
    """

    def __init__(self, text: Text, most: tuple[int, int], seed: int, followed: bool = False) -> None:
        self._ends = int(followed)
        rng = np.random.default_rng(seed)
        numbers = target_numbers(text) if followed else token_numbers(text)
        self._chosen = [_drawn(n, share, rng) for n, share in zip(numbers, most, strict=True)]
        self._read = np.zeros(2, dtype=np.int64)
        self.n_tokens = sum(numbers)

    @property
    def size(self) -> int:
        """Tokens in the sample."""
        return sum(map(len, self._chosen))

    def empty_sample(self) -> TokenSample:
        position, token, piece, document, index = np.zeros((5, self.size), dtype=np.int64)
        return TokenSample(position, token, piece, document, index, {}, self.n_tokens)

    def of_next_batch(self, batch: int, length: int) -> SampledTokens:
        """Those of the next so many windows of a length. The tokens of a place are counted through the corpus."""
        found = []
        widths = _widths(length - self._ends)
        for place, (width, chosen) in enumerate(zip(widths, self._chosen, strict=True)):
            begin = self._read[place]
            low, high = np.searchsorted(chosen, (begin, begin + batch * width))
            local = chosen[low:high] - begin
            row = np.arange(low, high) + place * len(self._chosen[0])
            found.append((local // max(width, 1), place + local % max(width, 1), row))
            self._read[place] += batch * width
        return SampledTokens(*(np.concatenate(of_both) for of_both in zip(*found, strict=True)))


def token_numbers(text: Text) -> tuple[int, int]:
    """How many tokens a text has at position 0 of its windows, and after it."""
    return _numbers(text, 0)


def target_numbers(text: Text) -> tuple[int, int]:
    """The same of the tokens that another one follows in their window."""
    return _numbers(text, 1)


def _numbers(text: Text, ends: int) -> tuple[int, int]:
    first, later = np.array([np.multiply(n, _widths(length - ends)) for n, length in text.window_shapes]).sum(axis=0)
    return int(first), int(later)


def _widths(length: int) -> tuple[int, int]:
    """Of so many tokens of a window, those at position 0 and those after it."""
    return min(length, 1), max(length - 1, 0)


def most_columns(columns: int) -> tuple[int, int]:
    """How many tokens, at position 0 and after it, fit where so many quantities of each are noted."""
    most = VALUES // max(columns, 1)
    return max(most // FIRST_SHARE, 1), most


def _drawn(n: int, most: int, rng: np.random.Generator) -> Int[np.ndarray, " chosen"]:
    return np.arange(n) if n <= most else np.sort(rng.choice(n, most, replace=False, shuffle=False))
