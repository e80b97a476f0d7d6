"""Watches what stands out among states, values, keys and attention.

Rogue dimensions, and the means and spreads that states are standardised with, are found in the text's first windows
before the pass: without them the anisotropy could not be summed up as text streams by.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from ...models.language_model import LanguageModel
from ...models.subject import AttentionScores, Reduce, Site
from ..streaming import Watcher
from .accumulator import ModelPass
from .length_watcher import stream_states
from .lengths import lengths
from .outliers import (
    SINK_SHARE,
    SINK_TOKENS,
    contributions,
    directions,
    extremes,
    first_attention,
    massive_dimensions,
    massive_windows,
    rogue,
    sink_importance,
)
from .text import Text

GROUPS = 10
"""Of documents: sums as wide as the stream are kept of each."""


PILOT_TOKENS = 512
"""In the pilot, rounded up to whole windows, whatever the batch size; fewer where there are no more of the longest."""


class Pilot(NamedTuple):
    """What the first windows say of a layer's stream, position 0 left out."""

    mean: Float[Tensor, " d_model"]
    spread: Float[Tensor, " d_model"]
    rogue: Int[np.ndarray, " rank"]


def pilot_windows(text: Text) -> Int[Tensor, "window pos"]:
    """The first windows of a text, which are its longest."""
    return next(text.corpus.batches(-(-PILOT_TOKENS // text.longest_window))).tokens


def pilots(subject: LanguageModel, tokens: Int[Tensor, "batch pos"]) -> dict[int, Pilot]:
    """Every layer of the stream in one batch."""
    found: dict[int, Pilot] = {}

    def look_at(x: Float[Tensor, "batch pos d_model"], layer: int) -> None:
        found[layer] = _pilot(x[:, 1:].flatten(0, 1).double())

    subject.run(tokens, stream_states(look_at))
    return found


def _pilot(states: Float64[Tensor, "token d_model"]) -> Pilot:
    pointing = directions(states)
    total, squares = (sums.sum(dim=0).cpu().numpy() for sums in (pointing, pointing.square()))
    by_dimension = contributions(total, squares, np.array(max(float(len(pointing)), 2.0)))
    return Pilot(states.mean(dim=0), states.std(dim=0, correction=0), rogue(by_dimension))


def _without_rogue(states: Tensor, pilot: Pilot) -> Tensor:
    kept = torch.ones(states.shape[-1], dtype=states.dtype, device=states.device)
    kept[torch.from_numpy(pilot.rogue)] = 0
    return states * kept


def _standardised(states: Tensor, pilot: Pilot) -> Tensor:
    return (states - pilot.mean) * torch.where(pilot.spread > 0, 1 / pilot.spread, 0)


UNCHANGED = "all dimensions"
CHANGED: Mapping[str, Callable[[Tensor, Pilot], Tensor]] = {
    "without rogue": _without_rogue,
    "standardised": _standardised,
}
VERSIONS = (UNCHANGED, *CHANGED)
"""Which states the anisotropy is of."""


@dataclass(frozen=True, eq=False)
class StateSums:
    """What is summed up of whole states: as wide as the stream, hence of few groups of documents.

    totals:           of directions, the states scaled to length one
    squares:          of the entries of the unchanged states' directions, position 0 left out
    tokens:           how many there are
    massive_windows:  in how many windows a dimension is massive
    """

    totals: Float[np.ndarray, "group layer place version d_model"]
    squares: Float[np.ndarray, "layer d_model"]
    tokens: Float[np.ndarray, "group place"]
    massive_windows: Int[np.ndarray, "layer place d_model"]

    @classmethod
    def empty(cls, groups: int, layers: int, d_model: int) -> StateSums:
        return cls(
            np.zeros((groups, layers, 2, len(VERSIONS), d_model)),
            np.zeros((layers, d_model)),
            np.zeros((groups, 2)),
            np.zeros((layers, 2, d_model), dtype=np.int64),
        )

    @property
    def contributions(self) -> Float[np.ndarray, "layer d_model"]:
        """What each dimension adds to the anisotropy of the unchanged states, position 0 left out."""
        later, unchanged = 1, 0
        total, n = self.totals[:, :, later, unchanged].sum(axis=0), self.tokens[:, later].sum()
        return contributions(total, self.squares, np.full(len(total), max(n, 2.0)))

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        return {
            "massive_windows_by_dimension": self.massive_windows,
            "anisotropy_by_dimension": self.contributions,
        }


class OutlierWatcher(Watcher):
    """Notes extreme entries of states, their directions, norms of values and keys, and attention to the first token.

    layer_pilots:  None: only what untrained models are compared by is noted: windows with massive activations, shares
                   of attention sinks, and directions of the last layer's unchanged states
    """

    def __init__(self, model_pass: ModelPass, layer_pilots: Mapping[int, Pilot] | None) -> None:
        self.noted, self.text, self.pilots = model_pass.noted, model_pass.text, layer_pilots
        self._layers = model_pass.subject.shape.n_layers + 1
        self._groups = min(GROUPS, self.text.n_pieces)
        self.sums = StateSums.empty(self._groups, self._layers, model_pass.subject.shape.d_model)

    def watch(self, tokens: Int[Tensor, "batch pos"]) -> Mapping[Site, Reduce]:
        self._group = self.noted.pieces * self._groups // self.text.n_pieces
        np.add.at(self.sums.tokens, self._group, np.array([1, tokens.shape[1] - 1]))
        if self.pilots is None:
            return {"attention": self._attention_compared, **stream_states(self._state_compared)}
        heads: dict[Site, Reduce] = {"v": partial(self._norms, "value_norm"), "attention": self._attention}
        return heads | stream_states(self._state)

    def _norms(self, name: str, x: Float[Tensor, "batch kv_head pos d_head"], layer: int) -> None:
        self.noted.add_mean(name, lengths(x).mT, layer, "kv_head")

    def _state(self, x: Float[Tensor, "batch pos d_model"], layer: int) -> None:
        found, noted = extremes(x), self.noted
        noted.add_window_mean("massive_activation", found.top.transpose(0, 1), layer, "position", "rank")
        noted.add_window_mean("median_activation", found.median, layer)
        noted.add_window_mean("massive_ratio", (found.top[..., 0] / found.median).T, layer, "position")
        is_massive = massive_dimensions(found)
        noted.add_window_mean("massive_windows", np.asarray(is_massive.any(axis=-1)).T, layer, "position")
        self.sums.massive_windows[layer] += is_massive.sum(axis=1)
        self._directions(x.double(), layer)

    def _state_compared(self, x: Float[Tensor, "batch pos d_model"], layer: int) -> None:
        self.noted.add_window_mean("massive_windows", massive_windows(x), layer, "position")
        if layer == self._layers - 1:
            self._directions(x.double(), layer)

    def _directions(self, states: Float64[Tensor, "batch pos d_model"], layer: int) -> None:
        pointing = directions(states)
        self.sums.squares[layer] += pointing[:, 1:].square().sum(dim=(0, 1)).cpu().numpy()
        self._sum_up(pointing, layer, UNCHANGED)
        if self.pilots is None:
            return
        for version, change in CHANGED.items():
            self._sum_up(directions(change(states, self.pilots[layer])), layer, version)

    def _sum_up(self, pointing: Float64[Tensor, "batch pos d_model"], layer: int, version: str) -> None:
        by_place = torch.stack([pointing[:, 0], pointing[:, 1:].sum(dim=1)], dim=1).cpu().numpy()
        np.add.at(self.sums.totals[:, layer, :, VERSIONS.index(version)], self._group, by_place)

    def _attention(self, scores: AttentionScores, layer: int) -> None:
        self._norms("key_norm", scores.k, layer)
        if self._shows_sinks(scores):
            importance = sink_importance(scores)
            self.noted.add_window_mean("sink_importance", importance, layer, "head")
            self._note_sinks(importance, layer)
            self.noted.add_window_mean("bos_attention", first_attention(scores), layer, "head")

    def _attention_compared(self, scores: AttentionScores, layer: int) -> None:
        if self._shows_sinks(scores):
            self._note_sinks(sink_importance(scores), layer)

    def _shows_sinks(self, scores: AttentionScores) -> bool:
        """Among few tokens the first has much attention anyway."""
        return scores.q.shape[2] >= min(SINK_TOKENS, self.text.longest_window)

    def _note_sinks(self, importance: Float64[Tensor, "batch head"], layer: int) -> None:
        self.noted.add_window_mean("sink_share", 100 * (importance > SINK_SHARE).double(), layer, "head")
