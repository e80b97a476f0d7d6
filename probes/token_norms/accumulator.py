"""What is noted down while text streams by: sums over pieces of the corpus, and a sample of tokens.

Neither grows with the corpus. Means are exact, from sums; percentiles and ranks need the tokens themselves: of all of
them where they fit into `VALUES` numbers, else of a sample drawn before the first pass, without replacement.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from ...data.corpus import Windows
from ..statistics.bootstrap import bootstrap_means
from .text import Reading

VALUES = 2**22
"""Numbers of a sample: 32 MiB in float64."""
PLACES = ("first", "later")
"""Position 0, which stands apart in every norm, and the positions after it."""


@dataclass(frozen=True, eq=False)
class Sample:
    """Tokens, those at position 0 first, in the order in which they were read.

    whole:  whether these are all tokens of the corpus
    """

    position: Int[np.ndarray, " token"]
    token: Int[np.ndarray, " token"]
    unit: Int[np.ndarray, " token"]
    columns: dict[tuple[str, int], Float[np.ndarray, " token"]]
    of: int

    @property
    def whole(self) -> bool:
        return len(self.token) == self.of

    def column(self, name: str) -> Float[np.ndarray, "token layer"]:
        """One quantity in all its layers."""
        layers = sorted(layer for at, layer in self.columns if at == name)
        return np.stack([self.columns[name, layer] for layer in layers], axis=1)

    def at(self, place: str) -> Int[np.ndarray, " row"]:
        """Rows of the tokens at a place: "first", "later" or "all"."""
        if place == "all":
            return np.arange(len(self.position))
        return np.flatnonzero((self.position > 0) == (place == "later"))


@dataclass(frozen=True, eq=False)
class Means:
    """Means over tokens, and over the tokens of resampled pieces, each [layer, place, *rest]; NaN where none was noted.

    n:  pieces with anything in them
    """

    values: Float[np.ndarray, "*axes"]
    resampled: Float[np.ndarray, "resample *axes"]
    n: int

    def apply(self, change: Callable[[np.ndarray], np.ndarray]) -> Means:
        """The same change of the means and of each resample's, which it is given along a leading axis."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return Means(np.asarray(change(self.values[None])[0]), change(self.resampled), self.n)


class Notes:
    """Noted by whoever watches a pass, about the windows that it is at."""

    def __init__(self, reading: Reading, columns: int, seed: int) -> None:
        self.reading, self.seed = reading, seed
        self._sums: dict[tuple[str, int], tuple[np.ndarray, np.ndarray]] = {}
        self._sizes = [some.tokens.shape for some in reading.corpus.batches(2**31)]  # one batch a length
        self._of = np.array([(n, n * (length - 1)) for n, length in self._sizes]).sum(axis=0)
        most = VALUES // max(columns, 1)
        rng = np.random.default_rng(seed)
        shares = (max(most // 8, 1), most)  # sequences are few, their tokens many
        self._chosen = [_choose(int(n), share, rng) for n, share in zip(self._of, shares, strict=True)]
        n_rows = sum(map(len, self._chosen))
        position, token, unit = np.zeros((3, n_rows), dtype=np.int64)
        self.sample = Sample(position, token, unit, {}, int(self._of.sum()))
        self._seen = np.zeros(2, dtype=np.int64)

    def batches(self, batch_size: int) -> Iterator[Int[Tensor, "batch pos"]]:
        """The corpus' windows. What is noted between one batch and the next is noted about the first of them."""
        for some in self.reading.corpus.batches(batch_size):
            self._begin(some)
            yield some.tokens

    @property
    def longest(self) -> int:
        """Tokens of the longest window."""
        return max(length for _, length in self._sizes)

    def n_batches(self, batch_size: int) -> int:
        return sum(math.ceil(n / batch_size) for n, _ in self._sizes)

    def _begin(self, some: Windows) -> None:
        self.windows, self.units = some, self.reading.units(some)
        rows, columns, self._rows = self._sampled(*some.tokens.shape)
        self._at = rows, columns
        self.sample.position[self._rows] = columns
        self.sample.token[self._rows] = some.tokens.numpy()[rows, columns]
        self.sample.unit[self._rows] = self.units[rows]

    def _sampled(self, batch: int, length: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Which tokens of the batch are in the sample: (window, position), and their rows there."""
        found = []
        for place, (width, chosen) in enumerate(zip((1, length - 1), self._chosen, strict=True)):
            begin = self._seen[place]
            low, high = np.searchsorted(chosen, (begin, begin + batch * width))
            local = chosen[low:high] - begin
            rows = np.arange(low, high) + place * len(self._chosen[0])
            found.append((local // width, place + local % width, rows))
            self._seen[place] += batch * width
        window, position, row = (np.concatenate(parts) for parts in zip(*found, strict=True))
        return window, position, row

    def token(self, name: str, x: Shaped[Tensor | np.ndarray, "batch pos"], layer: int = 0) -> None:
        """Note a quantity of every token of these windows in the sample."""
        column = self.sample.columns.setdefault((name, layer), np.full(len(self.sample.token), np.nan))
        column[self._rows] = _numpy(x[self._at])

    def mean(
        self, name: str, x: Shaped[Tensor | np.ndarray, "batch pos *rest"], layer: int = 0, later: bool = False
    ) -> None:
        """Note a quantity whose mean over tokens is asked for; `later`: x begins after position 0."""
        values, cut = _numpy(x), 0 if later else 1
        sums = np.stack([values[:, :cut].sum(axis=1), values[:, cut:].sum(axis=1)], axis=1)
        self._add(name, layer, sums, np.tile([cut, values.shape[1] - cut], (len(values), 1)))

    def each(self, name: str, x: Shaped[Tensor | np.ndarray, "batch *rest"], layer: int = 0) -> None:
        """Note a quantity of every window; it stands at the first place."""
        self.mean(name, x[:, None], layer)

    def _add(self, name: str, layer: int, sums: np.ndarray, counts: np.ndarray) -> None:
        if (name, layer) not in self._sums:
            shape = (self.reading.n_units, *sums.shape[1:])
            self._sums[name, layer] = np.zeros(shape), np.zeros((self.reading.n_units, 2))
        for held, new in zip(self._sums[name, layer], (sums, counts), strict=True):
            np.add.at(held, self.units, new)

    def means(self, name: str) -> Means:
        """Ratios of sums, in each resample of the pieces."""
        layers = sorted(layer for at, layer in self._sums if at == name)
        sums, counts = (np.stack([self._sums[name, layer][part] for layer in layers], axis=1) for part in (0, 1))
        used = counts.any(axis=(1, 2))
        counts = counts.reshape(*counts.shape, *[1] * (sums.ndim - counts.ndim))
        drawn = (bootstrap_means(part[used], self.seed) for part in (sums, counts))
        with np.errstate(invalid="ignore", divide="ignore"):
            values = sums.sum(axis=0) / counts.sum(axis=0)
            top, bottom = drawn
            return Means(np.asarray(values), top / bottom, int(used.sum()))


def _choose(n: int, most: int, rng: np.random.Generator) -> Int[np.ndarray, " chosen"]:
    return np.arange(n) if n <= most else np.sort(rng.choice(n, most, replace=False, shuffle=False))


def _numpy(x: Tensor | np.ndarray) -> Float[np.ndarray, "*axes"]:
    array = x.detach().cpu().double().numpy() if isinstance(x, Tensor) else x
    return array.astype(np.float64, copy=False)
