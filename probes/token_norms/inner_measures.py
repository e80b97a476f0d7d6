"""What each layer's write does to the loss of reading the stream out at once, beside what it would have to do.

The cost is that of three read-outs (norm, unembedding, softmax) for every layer and token: see `norm_inner`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...data.recipe import named_seed
from ...models.language_model import LanguageModel
from ...models.subject import Reduce, Site
from ..measure import Measure, missing
from ..streaming import Watcher
from .accumulator import PLACES, Notes
from .inner_problem import InnerStep, cosine, first_order, inner_step, radial
from .length_measures import no_prediction
from .means import built

OTHER_WRITES = 4
"""How many other tokens' writes each write is compared with."""
FORCED = "positive step cosine follows from falling loss; it is no evidence of an inner optimizer"
METRICS = {
    "inner_loss": "nat",
    "radial_push": "nat / norm",
    "step_gain": "nat",
    "step_first_order": "nat",
    "step_cosine": "cosine",
}


class _Before(NamedTuple):
    """The stream before a write, and what is known of it."""

    state: Float[Tensor, "batch pos d_model"]
    step: InnerStep


class InnerSteps(Watcher):
    """Notes, for the first so many tokens of the corpus, the inner problem at every layer of the stream."""

    def __init__(self, subject: LanguageModel, notes: Notes, tokens: int, seed: int) -> None:
        self.notes, self.tokens, self.left = notes, tokens, tokens
        self.reason = no_prediction(subject)
        norm = subject.final_norm
        self.read_out = lambda states: subject.unembed(norm(states))
        self.rng = np.random.default_rng(named_seed(seed, "inner controls"))
        self._before: _Before | None = None

    def watch(self, tokens: Int[Tensor, "batch pos"]) -> Mapping[Site, Reduce]:
        if self.reason is not None or self.left <= 0:
            return {}
        self.left -= tokens.numel()
        self._tokens, self._before = tokens, None
        later = tokens.shape[0] * (tokens.shape[1] - 2)
        self._turns = self.rng.integers(1, max(later, 2), OTHER_WRITES + 1)
        return {
            "resid_pre": lambda x, layer: self._state(x, 0) if layer == 0 else None,
            "resid_post": lambda x, layer: self._state(x, layer + 1),
        }

    def _state(self, x: Float[Tensor, "batch pos d_model"], layer: int) -> None:
        state = x[:, :-1]
        targets = self._tokens[:, 1:].to(x.device).flatten()
        others = targets.roll(int(self._turns[-1]))
        step = inner_step(state.flatten(0, 1), self.read_out, targets, others)
        step = InnerStep(*(part.unflatten(0, state.shape[:2]) for part in step))
        self.notes.mean("inner_loss", step.loss, layer)
        self.notes.mean("radial_push", radial(state, step.push), layer)
        if self._before is not None:
            self._write(self._before, state, step.loss, layer - 1)
        self._before = _Before(state, step)

    def _write(self, before: _Before, state: Tensor, loss: Tensor, layer: int) -> None:
        write = state - before.state
        self.notes.mean("step_gain", before.step.loss - loss, layer)
        self.notes.mean("step_first_order", first_order(write, before.step.push), layer)
        self.notes.mean("step_cosine", cosine(write, before.step.push), layer)
        self.notes.mean("step_shuffled", cosine(write, before.step.shuffled), layer)
        others = self._other_writes(write[:, 1:], before.step.push[:, 1:])
        self.notes.mean("step_others", others, layer, later=True)

    def _other_writes(self, write: Tensor, push: Tensor) -> Float[Tensor, "batch pos draw"]:
        """Cosines with what the layer writes at other tokens: of which norm does not matter to a cosine."""
        flat = write.flatten(0, 1)
        drawn = [flat.roll(int(turn), dims=0).view_as(write) for turn in self._turns[:-1]]
        return torch.stack([cosine(other, push) for other in drawn], dim=-1)

    def measures(self) -> dict[str, Measure]:
        if self.reason is not None:
            return {name: missing(unit, "not applicable", self.reason) for name, unit in METRICS.items()}
        axes, coords = ("layer", "position"), {"position": PLACES}
        partly = self.left <= 0 and self.notes.reading.corpus.n_tokens > self.tokens
        words = [f"on the first {self.tokens:,} tokens"] * partly
        found = {}
        for name, unit in METRICS.items():
            said = [f"{FORCED}; layer l is what block l writes"] * (name == "step_cosine") + words
            found[name] = built(self.notes.means(name), self.notes.reading, unit, axes, coords, "; ".join(said))
        if found["step_cosine"].status == "ok":
            found["step_cosine"] = replace(found["step_cosine"], nulls=self._controls(), no_nulls="")
        return found

    def _controls(self) -> dict[str, np.ndarray]:
        others = self.notes.means("step_others").values  # [layer, place, draw]
        return {
            "shuffled targets": self.notes.means("step_shuffled").values[None],
            "writes of other tokens": np.moveaxis(others, -1, 0),
        }
