"""Massive activations, attention sinks, drains, rogue dimensions and anisotropy: streamed.

Rogue dimensions, and the means and spreads that states are standardised with, are found in one pilot batch before the
pass: without them the anisotropy could not be summed up as text streams by.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...models.language_model import LanguageModel
from ...models.subject import AttentionScores, Reduce, Site
from ..measure import Measure
from ..streaming import Watcher
from .accumulator import PLACES, Notes
from .lengths import lengths
from .means import built, with_interval, without_interval
from .outliers import (
    LARGE,
    MANY_TIMES,
    SINK_SHARE,
    SINK_TOKENS,
    TOP,
    anisotropy,
    contributions,
    directions,
    extremes,
    first_attention,
    jackknife_interval,
    massive,
    rogue,
    sink_importance,
)

GROUPS = 10
"""Of documents: sums as wide as the stream are kept of each."""
VERSIONS = ("all dimensions", "without rogue", "standardised")
CRITERION = f"above {LARGE:g} and {MANY_TIMES:,.0f} times the median |entry| of the window's state"


class Pilot(NamedTuple):
    """What one batch says of a layer's stream, position 0 left out."""

    mean: Float[Tensor, " d_model"]
    spread: Float[Tensor, " d_model"]
    rogue: Int[np.ndarray, " rank"]


def pilot(subject: LanguageModel, tokens: Int[Tensor, "batch pos"]) -> dict[int, Pilot]:
    """Every layer of the stream in one batch."""
    found: dict[int, Pilot] = {}

    def look(x: Tensor, layer: int) -> None:
        states = x[:, 1:].flatten(0, 1).double()
        u = directions(states)
        total, squares = (part.sum(dim=0).cpu().numpy() for part in (u, u.square()))
        parts = contributions(total, squares, np.array(max(float(len(u)), 2.0)))
        found[layer] = Pilot(states.mean(dim=0), states.std(dim=0, correction=0), rogue(parts))

    before = lambda x, layer: look(x, 0) if layer == 0 else None  # noqa: E731
    subject.run(tokens, {"resid_pre": before, "resid_post": lambda x, layer: look(x, layer + 1)})
    return found


class Outliers(Watcher):
    """Notes what stands out among states, values, keys and attention."""

    def __init__(self, notes: Notes, pilots: Mapping[int, Pilot], d_model: int) -> None:
        self.notes, self.pilots = notes, pilots
        layers, self.groups = len(pilots), min(GROUPS, notes.reading.n_units)
        # sums over directions [group, layer, place, version, dimension], and over their squares
        self.totals = np.zeros((self.groups, layers, 2, len(VERSIONS), d_model))
        self.squares = np.zeros((layers, d_model))
        self.n = np.zeros((self.groups, 2))
        self.massive = np.zeros((layers, 2, d_model), dtype=np.int64)

    def watch(self, tokens: Int[Tensor, "batch pos"]) -> Mapping[Site, Reduce]:
        self._group = self.notes.units * self.groups // self.notes.reading.n_units
        np.add.at(self.n, self._group, np.array([1, tokens.shape[1] - 1]))
        return {
            "resid_pre": lambda x, layer: self._state(x, 0) if layer == 0 else None,
            "resid_post": lambda x, layer: self._state(x, layer + 1),
            "v": lambda v, layer: self.notes.mean("value_norm", lengths(v).transpose(1, 2), layer),
            "attention": self._attention,
        }

    def _state(self, x: Float[Tensor, "batch pos d_model"], layer: int) -> None:
        found, notes = extremes(x), self.notes
        notes.each("massive_activation", found.top.transpose(0, 1), layer)
        notes.each("median_activation", found.median, layer)
        notes.each("massive_ratio", (found.top[..., 0] / found.median).T, layer)
        flags = massive(found.dimensions.cpu().numpy(), found.median.cpu().numpy()[None].repeat(2, axis=0))
        notes.each("massive_windows", np.asarray(flags.any(axis=-1)).T, layer)
        self.massive[layer] += flags.sum(axis=1)
        self._directions(x.double(), layer)

    def _directions(self, states: Float[Tensor, "batch pos d_model"], layer: int) -> None:
        at = self.pilots[layer]
        kept = torch.ones(states.shape[-1], dtype=states.dtype, device=states.device)
        kept[torch.from_numpy(at.rogue)] = 0
        inverse = torch.where(at.spread > 0, 1 / at.spread, 0)
        versions = (lambda: states, lambda: states * kept, lambda: (states - at.mean) * inverse)
        for number, version in enumerate(versions):
            u = directions(version())
            sums = torch.stack([u[:, 0], u[:, 1:].sum(dim=1)], dim=1).cpu().numpy()
            np.add.at(self.totals[:, layer, :, number], self._group, sums)
            if number == 0:
                self.squares[layer] += u[:, 1:].square().sum(dim=(0, 1)).cpu().numpy()

    def _attention(self, scores: AttentionScores, layer: int) -> None:
        notes = self.notes
        notes.mean("key_norm", lengths(scores.k).transpose(1, 2), layer)
        if scores.q.shape[2] < min(SINK_TOKENS, notes.longest):
            return  # among few tokens the first has much attention anyway
        importance = sink_importance(scores)
        notes.each("sink_importance", importance, layer)
        notes.each("sink_share", 100 * (importance > SINK_SHARE).double(), layer)
        notes.each("bos_attention", first_attention(scores), layer)

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """In how many windows a dimension is massive [layer, place, dimension]; each one's share in the anisotropy."""
        return {"massive_windows_by_dimension": self.massive, "anisotropy_by_dimension": self._contributions()}

    def _contributions(self) -> Float[np.ndarray, "layer d_model"]:
        """Position 0 left out."""
        total, n = self.totals[:, :, 1, 0].sum(axis=0), self.n[:, 1].sum()
        return contributions(total, self.squares, np.full(len(total), max(n, 2.0)))

    def measures(self, causal: bool) -> dict[str, Measure]:
        return {**self._massive(), **self._sinks(causal), **self._drains(), **self._anisotropy()}

    def _massive(self) -> dict[str, Measure]:
        """Window by window, averaged over windows; position 0 and the later ones apart."""
        notes, reading, places = self.notes, self.notes.reading, {"position": PLACES}
        means = {name: notes.means(name).apply(lambda x: x[:, :, 0]) for name in _WINDOWS}
        found = {
            name: built(means[name], reading, unit, axes, places if "position" in axes else {}, words)
            for name, (unit, axes, words) in _WINDOWS.items()
        }
        counts = self.massive.sum(axis=1)
        order = np.argsort(-counts, axis=-1, kind="stable")[:, :TOP]
        top = np.where(np.take_along_axis(counts, order, axis=-1) > 0, order, np.nan)
        words = "those that are massive in most windows, which have no interval; NaN: none has an entry " + CRITERION
        return found | {"massive_dimension": without_interval(top, "dimension", ("layer", "rank"), message=words)}

    def _sinks(self, causal: bool) -> dict[str, Measure]:
        notes, reading, heads = self.notes, self.notes.reading, ("layer", "head")
        first = lambda x: x[:, :, 0]  # noqa: E731
        over = f"the first {SINK_TOKENS} queries" if causal else "all queries"
        imp = f"mean attention to the first token over {over} (Gu et al. 2024)"
        share, second = notes.means("sink_share").apply(first), "over the second half of the queries"
        whole = share.apply(lambda x: x.mean(axis=(1, 2)))
        bos = notes.means("bos_attention").apply(first)
        return {
            "sink_importance": built(
                notes.means("sink_importance").apply(first), reading, "probability", heads, {}, imp
            ),
            "sink_share": built(share, reading, "% of windows", heads, {}, f"{imp}, above {SINK_SHARE}"),
            "sink_metric": built(
                whole, reading, "%", message=f"mean over layers and heads of: {imp}, above {SINK_SHARE}"
            ),
            "bos_attention": built(bos, reading, "probability", heads, {}, second),
            "bos_attention_mean": built(
                bos.apply(lambda x: x.mean(axis=(1, 2))), reading, "probability", message=second
            ),
        }

    def _drains(self) -> dict[str, Measure]:
        """Norm at position 0 over the mean norm after it: 1 where the first token is like the others."""
        notes, unit = self.notes, "first / later"
        ratio = lambda x: x[:, :, 0] / x[:, :, 1]  # noqa: E731
        peak = notes.means("norm_resid").apply(lambda x: x[:, :, 0, 0] / x[:, :, 1, 0])
        heads = ("layer", "kv_head")
        return {
            "value_drain": built(notes.means("value_norm").apply(ratio), notes.reading, unit, heads),
            "key_drain": built(notes.means("key_norm").apply(ratio), notes.reading, unit, heads),
            "state_peak": built(peak, notes.reading, unit, ("layer",)),
        }

    def _anisotropy(self) -> dict[str, Measure]:
        reading, found = self.notes.reading, []
        for places in ([0, 1], [1]):
            totals, n = self.totals[:, :, places].sum(axis=2), self.n[:, places].sum(axis=1)
            used = n > 0
            totals, n = totals[used], n[used]
            whole = _mean_cosine(totals.sum(axis=0), n.sum())
            left_out = [
                _mean_cosine(totals.sum(axis=0) - part, n.sum() - own) for part, own in zip(totals, n, strict=True)
            ]
            found.append((whole, *jackknife_interval(whole, np.array(left_out))))
        values, low, high = (np.stack(part, axis=-1) for part in zip(*found, strict=True))
        axes, coords = ("layer", "dimensions", "position"), {"dimensions": VERSIONS, "position": ("all", "later")}
        parts = self._contributions()
        order = rogue(parts)
        share = np.take_along_axis(parts, order, axis=-1) / parts.sum(axis=-1, keepdims=True)
        words = f"mean cosine of two tokens; the interval is a jackknife over {self.groups} groups of documents"
        found_by = "position 0 left out; no interval: squares are kept of the whole corpus alone"
        ranks = ("layer", "rank")
        return {
            "anisotropy": with_interval(
                values, (low, high), self.groups, reading, "cosine", axes, coords, words, "one token has no pair"
            ),
            "rogue_dimension": without_interval(order.astype(np.float64), "dimension", ranks, message=found_by),
            "rogue_share": without_interval(share, "share of the anisotropy", ranks, message=found_by),
        }


_WINDOWS: Mapping[str, tuple[str, tuple[str, ...], str]] = {
    "massive_activation": ("activation", ("layer", "position", "rank"), "largest |entries| of each window"),
    "median_activation": ("activation", ("layer",), "median |entry| of each window"),
    "massive_ratio": ("times the median", ("layer", "position"), "largest |entry| over the median one"),
    "massive_windows": ("share of windows", ("layer", "position"), f"with an entry {CRITERION}"),
}


def _mean_cosine(totals: Float[np.ndarray, "layer version d_model"], n: float) -> Float[np.ndarray, "layer version"]:
    with np.errstate(invalid="ignore", divide="ignore"):
        return anisotropy(totals, np.full(totals.shape[:-1], n)) if n > 1 else np.full(totals.shape[:-1], np.nan)
