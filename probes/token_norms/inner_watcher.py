"""Watches what each block's write does to the loss of reading the stream out at once, beside controls.

The cost is that of two products with the unembedding for every layer and token: see `inner_problem`. So a sample of the
tokens is looked at, drawn over all documents and positions.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Float64, Int
from torch import Tensor

from ...data.recipe import named_seed
from ...models.subject import NotApplicable, Reduce, Site
from ..streaming import Watcher
from .accumulator import ModelPass
from .inner_problem import InnerStep, cosine, first_order, inner_loss, inner_step, radial
from .length_watcher import no_prediction, stream_states
from .read_out import ReadOut
from .sample import SampledTokens, TokenDraw, target_numbers
from .text import Text

SHARE, FEWEST = 3, 512
"""One token in three is looked at, at least 512: of those at position 0, and of those after it. Intervals are then at
most 1.7 times as wide as with all tokens, where tokens are independent.
"""
FEWEST_COMPARED = 64
"""The same of a comparison of last layers alone."""
OTHER_WRITES = 4
"""How many other tokens' writes each write is compared with."""


def looked_at(text: Text, last_only: bool = False) -> tuple[int, int]:
    """Tokens at position 0 and after it that the inner problem is solved for, where there are so many."""
    fewest = FEWEST_COMPARED if last_only else FEWEST
    first, later = (max(-(-n // SHARE), fewest) for n in target_numbers(text))
    return first, later


class _StateBefore(NamedTuple):
    """The stream before a block's write, and the inner problem there."""

    state: Float[Tensor, "token d_model"]
    step: InnerStep


class InnerWatcher(Watcher):
    """Notes the inner problem at every layer of the stream.

    last_only:  of the last block's write, its cosines alone
    draw:       which tokens are looked at
    n_targets:  tokens of the text that another one follows
    missing:    why there is no inner problem; None: there is
    radial:     whether the length of a state matters to its loss: not under a final norm
    """

    def __init__(self, model_pass: ModelPass, last_only: bool = False) -> None:
        self.noted, subject = model_pass.noted, model_pass.subject
        reason = no_prediction(subject)
        read_out = ReadOut.of(subject) if reason is None else NotApplicable(reason)
        self.missing = read_out.reason if isinstance(read_out, NotApplicable) else None
        self._read_out = None if isinstance(read_out, NotApplicable) else read_out
        self.radial = self._read_out is not None and not self._read_out.ignores_length()
        most = looked_at(model_pass.text, last_only)
        self.draw = TokenDraw(model_pass.text, most, named_seed(model_pass.seed, "inner sample"), followed=True)
        self._last, self._last_only = subject.shape.n_layers, last_only
        self._rng = np.random.default_rng(named_seed(model_pass.seed, "inner controls"))
        self._before: _StateBefore | None = None

    def watch(self, tokens: Int[Tensor, "batch pos"]) -> Mapping[Site, Reduce]:
        if self._read_out is None:
            return {}
        self._at = at = self.draw.of_next_batch(*tokens.shape)
        if not len(at.row):
            return {}
        self._targets = tokens[at.window, at.position + 1]
        later = int((at.position > 0).sum())
        *self._write_shifts, self._target_shift = self._rng.integers(1, max(later, 2), OTHER_WRITES + 1).tolist()
        return stream_states(self._state)

    def take(self, tokens: Int[Tensor, "batch pos"], output: Float[Tensor, "batch pos width"]) -> None:
        self._before = None  # the last block's state is of no use to the next batch

    def _state(self, x: Float[Tensor, "batch pos d_model"], layer: int) -> None:
        if self._last_only and layer < self._last - 1:
            return
        state = x[self._at.window, self._at.position]
        if self._before is not None:
            self._note_cosines(state - self._before.state, self._before.step, layer - 1)
        if self._last_only and layer == self._last:
            return
        if layer == self._last and not self.radial:  # no block writes after it
            self._note_loss(self._loss(state), state, layer)
            return
        step = self._step(state)
        self._note_loss(step.loss, state, layer)
        if self.radial:
            self._note("radial_push", radial(state, step.push), layer)
        self._before = _StateBefore(state, step)

    def _note_loss(self, loss: Float64[Tensor, " token"], state: Float[Tensor, "token d_model"], layer: int) -> None:
        if self._before is not None:
            self._note("step_gain", self._before.step.loss - loss, layer - 1)
            write = state - self._before.state
            self._note("step_first_order", first_order(write, self._before.step.push), layer - 1)
        self._note("inner_loss", loss, layer)

    def _loss(self, state: Float[Tensor, "token d_model"]) -> Float64[Tensor, " token"]:
        assert self._read_out is not None
        return inner_loss(state, self._read_out, self._targets.to(state.device))

    def _step(self, state: Float[Tensor, "token d_model"]) -> InnerStep:
        assert self._read_out is not None
        targets = self._targets.to(state.device)
        return inner_step(state, self._read_out, targets, targets.roll(self._target_shift))

    def _note_cosines(self, write: Float[Tensor, "token d_model"], step: InnerStep, layer: int) -> None:
        self._note("step_cosine", cosine(write, step.push), layer)
        self._note("step_cosine_shuffled", cosine(write, step.shuffled), layer)
        later = np.flatnonzero(self._at.position > 0)
        others = SampledTokens(*(places[later] for places in self._at))
        drawn = self._other_writes(write[later], step.push[later])
        self.noted.add_sampled_mean("step_cosine_other_writes", drawn, others, layer, "draw")

    def _note(self, name: str, values: Float64[Tensor, " token"], layer: int) -> None:
        self.noted.add_sampled_mean(name, values, self._at, layer)

    def _other_writes(
        self, write: Float[Tensor, "later d_model"], push: Float[Tensor, "later d_model"]
    ) -> Float64[Tensor, "later draw"]:
        """Cosines with what the block writes at other tokens: of which norm does not matter to a cosine."""
        return torch.stack([cosine(write.roll(shift, dims=0), push) for shift in self._write_shifts], dim=-1)
