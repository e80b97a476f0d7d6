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

    columns:   quantities of every token, by name and layer
    n_tokens:  of the whole corpus
    """

    position: Int[np.ndarray, " token"]
    token: Int[np.ndarray, " token"]
    piece: Int[np.ndarray, " token"]
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

    columns:  quantities noted of every token; the more there are, the fewer tokens fit
    """

    def __init__(self, text: Text, columns: int, seed: int) -> None:
        numbers = np.array([(n, n * (length - 1)) for n, length in text.window_shapes]).sum(axis=0)
        most = VALUES // max(columns, 1)
        rng = np.random.default_rng(seed)
        self._chosen = [
            _drawn(int(n), share, rng)
            for n, share in zip(numbers, (max(most // FIRST_SHARE, 1), most), strict=True)
        ]  # fmt: skip
        self._read = np.zeros(2, dtype=np.int64)
        self.n_tokens = int(numbers.sum())

    def empty_sample(self) -> TokenSample:
        position, token, piece = np.zeros((3, sum(map(len, self._chosen))), dtype=np.int64)
        return TokenSample(position, token, piece, {}, self.n_tokens)

    def of_next_batch(self, batch: int, length: int) -> SampledTokens:
        """Those of the next so many windows of a length. The tokens of a place are counted through the corpus."""
        found = []
        for place, (width, chosen) in enumerate(zip((1, length - 1), self._chosen, strict=True)):
            begin = self._read[place]
            low, high = np.searchsorted(chosen, (begin, begin + batch * width))
            local = chosen[low:high] - begin
            row = np.arange(low, high) + place * len(self._chosen[0])
            found.append((local // width, place + local % width, row))
            self._read[place] += batch * width
        return SampledTokens(*(np.concatenate(of_both) for of_both in zip(*found, strict=True)))


def _drawn(n: int, most: int, rng: np.random.Generator) -> Int[np.ndarray, " chosen"]:
    return np.arange(n) if n <= most else np.sort(rng.choice(n, most, replace=False, shuffle=False))
