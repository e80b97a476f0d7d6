"""Watches what each block's write does to the loss of reading the stream out at once, beside controls.

The cost is that of three read-outs (norm, unembedding, softmax) for every layer and token: see `inner_problem`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...data.recipe import named_seed
from ...models.subject import Reduce, Site
from ..streaming import Watcher
from .accumulator import ModelPass
from .inner_problem import InnerStep, cosine, first_order, inner_step, radial
from .length_watcher import no_prediction, stream_states

OTHER_WRITES = 4
"""How many other tokens' writes each write is compared with."""


class _StateBefore(NamedTuple):
    """The stream before a block's write, and the inner problem there."""

    state: Float[Tensor, "batch pos d_model"]
    step: InnerStep


class InnerWatcher(Watcher):
    """Notes the inner problem at every layer of the stream.

    tokens:  of the first batches of the text, whole ones, until they hold so many, BOS included
    seen:    tokens of the batches that were looked at
    stopped: whether there were more
    """

    def __init__(self, model_pass: ModelPass, tokens: int) -> None:
        self.noted, self.tokens = model_pass.noted, tokens
        self.seen, self.stopped = 0, False
        subject = model_pass.subject
        self.applies = no_prediction(subject) is None
        self._final_norm, self._unembed = subject.final_norm, subject.unembed
        self._rng = np.random.default_rng(named_seed(model_pass.seed, "inner controls"))
        self._before: _StateBefore | None = None

    def read_out(self, states: Float[Tensor, "*batch d_model"]) -> Float[Tensor, "*batch d_vocab"]:
        """The final norm with the statistics of these states, and the unembedding."""
        return self._unembed(self._final_norm(states))

    def watch(self, tokens: Int[Tensor, "batch pos"]) -> Mapping[Site, Reduce]:
        if not self.applies or self.seen >= self.tokens:
            self.stopped = True
            return {}
        self.seen += tokens.numel()
        self._tokens = tokens
        later = tokens.shape[0] * (tokens.shape[1] - 2)
        *self._write_shifts, self._target_shift = self._rng.integers(1, max(later, 2), OTHER_WRITES + 1).tolist()
        return stream_states(self._state)

    def take(self, tokens: Int[Tensor, "batch pos"], output: Float[Tensor, "batch pos width"]) -> None:
        self._before = None  # the last block's state is of no use to the next batch

    def _state(self, x: Float[Tensor, "batch pos d_model"], layer: int) -> None:
        state = x[:, :-1]  # nothing follows the last token
        targets = self._tokens[:, 1:].to(x.device).flatten()
        step = inner_step(state.flatten(0, 1), self.read_out, targets, targets.roll(self._target_shift))
        step = InnerStep(*(values.unflatten(0, state.shape[:2]) for values in step))
        self.noted.add_mean("inner_loss", step.loss, layer)
        self.noted.add_mean("radial_push", radial(state, step.push), layer)
        if self._before is not None:
            self._write(self._before, _StateBefore(state, step), layer - 1)
        self._before = _StateBefore(state, step)

    def _write(self, before: _StateBefore, after: _StateBefore, layer: int) -> None:
        write, noted = after.state - before.state, self.noted
        noted.add_mean("step_gain", before.step.loss - after.step.loss, layer)
        noted.add_mean("step_first_order", first_order(write, before.step.push), layer)
        noted.add_mean("step_cosine", cosine(write, before.step.push), layer)
        noted.add_mean("step_cosine_shuffled", cosine(write, before.step.shuffled), layer)
        others = self._other_writes(write[:, 1:], before.step.push[:, 1:])
        noted.add_later_mean("step_cosine_other_writes", others, layer, "draw")

    def _other_writes(
        self, write: Float[Tensor, "batch pos d_model"], push: Float[Tensor, "batch pos d_model"]
    ) -> Float[Tensor, "batch pos draw"]:
        """Cosines with what the block writes at other tokens: of which norm does not matter to a cosine."""
        by_token = write.flatten(0, 1)
        drawn = [by_token.roll(shift, dims=0).view_as(write) for shift in self._write_shifts]
        return torch.stack([cosine(other, push) for other in drawn], dim=-1)
