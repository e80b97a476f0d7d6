"""Watches which tokens have the longest and the shortest states in the residual stream, and the largest activations."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import replace

import numpy as np
from jaxtyping import Float, Int
from torch import Tensor

from ...models.subject import Reduce, Site
from ..streaming import Watcher
from .accumulator import ModelPass
from .extreme_tokens import Entry, Occurrence, merged, most_extreme, occurrence
from .length_watcher import stream_states
from .lengths import lengths
from .names import LARGEST, LONGEST, SHORTEST

MOST = 5
"""Tokens of each kind and layer."""


class ExtremeWatcher(Watcher):
    """Keeps the most extreme tokens of every layer of the stream, over the whole text.

    Position 0 stands apart in every norm: lengths are those of the tokens after it, activations those of all.

    activations:  whether the largest entries of states are asked for, too
    """

    def __init__(self, model_pass: ModelPass, activations: bool) -> None:
        self.noted, self.text, self.activations = model_pass.noted, model_pass.text, activations
        self.found: dict[str, dict[int, list[Occurrence]]] = defaultdict(dict)

    def watch(self, tokens: Int[Tensor, "batch pos"]) -> Mapping[Site, Reduce]:
        return stream_states(self._state)

    def _state(self, x: Float[Tensor, "batch pos d_model"], layer: int) -> None:
        norms = lengths(x)[:, 1:].double().cpu().numpy()
        for kind in (LONGEST, SHORTEST):
            self._keep(kind, layer, norms, skipped=1)
        if self.activations:
            largest = x.abs().amax(dim=-1).double().cpu().numpy()
            self._keep(LARGEST, layer, largest, skipped=0, states=x)

    def _keep(
        self,
        kind: str,
        layer: int,
        values: Float[np.ndarray, "batch pos"],
        skipped: int,
        states: Float[Tensor, "batch pos d_model"] | None = None,
    ) -> None:
        """skipped: positions at the beginning of each window that have no value"""
        windows, largest = self.noted.windows, kind != SHORTEST
        ids = windows.tokens[:, skipped:].numpy().ravel()
        new: dict[Occurrence, int] = {}
        for place in most_extreme(values.ravel(), ids, MOST, largest).tolist():
            window, position = divmod(place, values.shape[1])
            value, where = float(values[window, position]), (window, position + skipped)
            new[occurrence(windows, self.text.corpus.bos, *where, value)] = window
        kept = merged(self.found[kind].get(layer, []), list(new), MOST, largest)
        if states is not None:  # medians take a while: of those that stay alone
            kept = [replace(one, entry=_entry(states[new[one]], one.position)) if one in new else one for one in kept]
        self.found[kind][layer] = kept


def _entry(state: Float[Tensor, "pos d_model"], position: int) -> Entry:
    dimension = int(state[position].abs().argmax())
    size = state.abs().float() if state.dtype.itemsize < 4 else state.abs()
    return Entry(dimension, float(state[position, dimension]), float(size.median()))
