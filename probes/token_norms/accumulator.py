"""What one model's pass over a text leaves: sums over pieces of the text, and a sample of its tokens.

Neither grows with the text. Means are exact, from sums; percentiles and ranks are those of the sample.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from jaxtyping import Float, Int, Shaped
from torch import Tensor

from ...data.corpus import Windows
from ...data.recipe import named_seed
from ...models.language_model import LanguageModel
from ..statistics.bootstrap import bootstrap_means
from .sample import SampledTokens, TokenDraw, most_columns
from .text import Text


@dataclass(frozen=True, eq=False)
class Means:
    """Means over tokens or windows along named axes: of the whole text, and of each resample of its pieces.

    values:    NaN where nothing was noted
    n_pieces:  pieces of the text with anything in them
    """

    values: Float[np.ndarray, "*axes"]
    resampled: Float[np.ndarray, "resample *axes"]
    axes: tuple[str, ...]
    n_pieces: int

    def at(self, **places: int | slice) -> Means:
        """At one place, or at several, along some of the axes."""
        cell = tuple(places.get(axis, slice(None)) for axis in self.axes)
        left = tuple(axis for axis in self.axes if not isinstance(places.get(axis), int))
        return Means(np.asarray(self.values[cell]), self.resampled[:, *cell], left, self.n_pieces)

    def ordered(self, axes: tuple[str, ...]) -> Means:
        """The same with the axes in another order."""
        order = [self.axes.index(axis) for axis in axes]
        turned = self.resampled.transpose(0, *(1 + place for place in order))
        return Means(np.asarray(self.values.transpose(order)), turned, axes, self.n_pieces)

    def averaged(self) -> Means:
        """The mean over all axes."""
        return combined(_mean_over_all, self, axes=())


def _mean_over_all(samples: Float[np.ndarray, "sample *axes"]) -> Float[np.ndarray, " sample"]:
    return samples.reshape(len(samples), -1).mean(axis=1)


def combined(function: Callable[..., np.ndarray], *means: Means, axes: tuple[str, ...] | None = None) -> Means:
    """The same function of the means and of each resample's, which it is given along a leading axis.

    axes:  of what the function returns; by default those of the first
    """
    with np.errstate(invalid="ignore", divide="ignore"):
        whole = function(*(of.values[None] for of in means))[0]
        resampled = function(*(of.resampled for of in means))
    return Means(np.asarray(whole), resampled, means[0].axes if axes is None else axes, means[0].n_pieces)


@dataclass(frozen=True, eq=False)
class _Sums:
    """Of one quantity in one layer, by piece of the text; what is counted are tokens at each place, or windows."""

    axes: tuple[str, ...]
    total: Float[np.ndarray, "piece *axes"]
    count: Float[np.ndarray, "piece *place"]


def index_in_document(
    some: Windows, bos: int | None, window: Int[np.ndarray, " token"], position: Int[np.ndarray, " token"]
) -> Int[np.ndarray, " token"]:
    """Where tokens of some windows stand in their documents, BOS not counted: -1 for a BOS."""
    if bos is None:
        return some.start[window] + position
    return np.where(position > 0, some.start[window] + position - 1, -1)


class Accumulator:
    """Gathers what watchers note about the windows that a pass is at.

    n_columns:  quantities of every token that will be noted, all layers counted
    """

    def __init__(self, text: Text, n_columns: int, seed: int) -> None:
        self.text, self.seed = text, seed
        self._sums: dict[tuple[str, int], _Sums] = {}
        self._draw = TokenDraw(text, most_columns(n_columns), seed)
        self.sample = self._draw.empty_sample()

    def batches(self, batch_size: int) -> Iterator[Int[Tensor, "batch pos"]]:
        """The text's windows. What is noted between one batch and the next is noted about the first of them."""
        for some in self.text.corpus.batches(batch_size):
            self.begin(some)
            yield some.tokens

    def begin(self, some: Windows) -> None:
        """What is noted from now on is noted about these windows, which are the text's next."""
        self.windows, self.pieces = some, self.text.pieces(some)
        self._sampled = window, position, row = self._draw.of_next_batch(*some.tokens.shape)
        self.sample.position[row] = position
        self.sample.token[row] = some.tokens.numpy()[window, position]
        self.sample.piece[row] = self.pieces[window]
        self.sample.document[row] = some.document[window]
        self.sample.index[row] = index_in_document(some, self.text.corpus.bos, window, position)

    def add_tokens(self, name: str, x: Shaped[Tensor | np.ndarray, "batch pos"], layer: int = 0) -> None:
        """Note a quantity of every token that is in the sample."""
        column = self.sample.columns.setdefault((name, layer), np.full(len(self.sample.token), np.nan))
        column[self._sampled.row] = _numpy(x[self._sampled.window, self._sampled.position])

    def add_mean(
        self, name: str, x: Shaped[Tensor | np.ndarray, "batch pos *rest"], layer: int = 0, *axes: str
    ) -> None:
        """Note a quantity whose means over tokens are asked for: of those at position 0, and of those after it.

        axes:  names of its axes after batch and pos
        """
        values = _numpy(x)
        sums = np.stack([values[:, :1].sum(axis=1), values[:, 1:].sum(axis=1)], axis=1)
        counts = np.tile([1, values.shape[1] - 1], (len(values), 1))
        self._add(name, layer, ("position", *axes), (sums, counts))

    def add_later_mean(
        self, name: str, x: Shaped[Tensor | np.ndarray, "batch later *rest"], layer: int = 0, *axes: str
    ) -> None:
        """The same of a quantity that only tokens after position 0 have; x begins at position 1."""
        values = _numpy(x)
        later = values.sum(axis=1)
        sums, counts = np.stack([np.zeros_like(later), later], axis=1), np.tile([0, values.shape[1]], (len(values), 1))
        self._add(name, layer, ("position", *axes), (sums, counts))

    def add_sampled_mean(
        self, name: str, x: Shaped[Tensor, "token *rest"], tokens: SampledTokens, layer: int = 0, *axes: str
    ) -> None:
        """The same as `add_mean` of a quantity that only some tokens of the batch have."""
        values, windows = _numpy(x), len(self.windows.tokens)
        place = (tokens.position > 0).astype(np.int64)
        sums, counts = np.zeros((windows, 2, *values.shape[1:])), np.zeros((windows, 2))
        np.add.at(sums, (tokens.window, place), values)
        np.add.at(counts, (tokens.window, place), 1)
        self._add(name, layer, ("position", *axes), (sums, counts))

    def add_window_mean(
        self, name: str, x: Shaped[Tensor | np.ndarray, "batch *rest"], layer: int = 0, *axes: str
    ) -> None:
        """Note a quantity of every window, whose mean over windows is asked for."""
        values = _numpy(x)
        self._add(name, layer, axes, (values, np.ones(len(values))))

    def _add(self, name: str, layer: int, axes: tuple[str, ...], of_windows: tuple[np.ndarray, np.ndarray]) -> None:
        if (name, layer) not in self._sums:
            empty = (np.zeros((self.text.n_pieces, *noted.shape[1:])) for noted in of_windows)
            self._sums[name, layer] = _Sums(axes, *empty)
        held = self._sums[name, layer]
        for into, noted in zip((held.total, held.count), of_windows, strict=True):
            np.add.at(into, self.pieces, noted)

    def has(self, name: str) -> bool:
        return any(of == name for of, _ in self._sums)

    def values(self, name: str) -> Float[np.ndarray, "layer *axes"]:
        """Means of a quantity over the whole text: those of `means`, without the cost of its resamples."""
        return _ratio(*(of_pieces.sum(axis=0) for of_pieces in self._by_piece(name)))

    def means(self, name: str) -> Means:
        """Means of a quantity along (layer, position, …), or of windows along (layer, …): ratios of sums, in each
        resample of the pieces.
        """
        totals, counts = self._by_piece(name)
        used = counts.reshape(len(counts), -1).any(axis=1)
        resampled = _ratio(*(bootstrap_means(of_pieces[used], self.seed) for of_pieces in (totals, counts)))
        axes = next(sums.axes for (of, _), sums in self._sums.items() if of == name)
        return Means(self.values(name), resampled, ("layer", *axes), int(used.sum()))

    def _by_piece(self, name: str) -> tuple[np.ndarray, np.ndarray]:
        """Totals and counts of a quantity along (piece, layer, …), as many axes each."""
        layers = [self._sums[name, layer] for layer in sorted(layer for of, layer in self._sums if of == name)]
        totals, counts = (np.stack(parts, axis=1) for parts in ([s.total for s in layers], [s.count for s in layers]))
        return totals, counts.reshape(*counts.shape, *[1] * (totals.ndim - counts.ndim))


def _ratio(totals: np.ndarray, counts: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(totals / counts)


@dataclass(frozen=True, eq=False)
class ModelPass:
    """One model, the text that it reads, and what its watchers note as it does: what every measure is made from.

    n_columns:  see `Accumulator`
    seed:       of the run; whoever draws at random derives a seed of its own from it
    """

    subject: LanguageModel
    text: Text
    seed: int
    n_columns: int
    noted: Accumulator = field(init=False)

    def __post_init__(self) -> None:
        noted = Accumulator(self.text, self.n_columns, named_seed(self.seed, "token norms"))
        object.__setattr__(self, "noted", noted)


def _numpy(x: Tensor | np.ndarray) -> Float[np.ndarray, "*axes"]:
    array = x.detach().cpu().double().numpy() if isinstance(x, Tensor) else x
    return array.astype(np.float64, copy=False)
