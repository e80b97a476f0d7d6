"""What is seen of every sequence: on repeats, on their controls, and on both by heads with permuted weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import numpy as np
import torch
from jaxtyping import Float64
from torch import Tensor

from ...models.subject import AttentionScores, NotApplicable
from ..streaming import Beside, Watcher
from .experiment import CONTROLS, REPEATED, SHUFFLED_REPEATS, Experiment
from .inputs import PeriodInputs
from .nulls import PermutedAttention
from .watchers import HeadAttention, LogitAttribution, MeanZ, NextTokenLoss, OtherDefinitions, kept_offsets

Arrays = Mapping[str, np.ndarray]
NULL_DRAWS = (4, 12)
"""Draws of permuted weights: at least, and at most, however few heads there are to pool over."""


@dataclass(frozen=True)
class PeriodObservations:
    """Scores of heads and losses of tokens, on every sequence of one period or on its controls.

    heads:    [sequence, layer, head, …] by name, see `HeadAttention` and `LogitAttribution`
    tokens:   [sequence, pos - 1] by name, see `NextTokenLoss`; of the longest period, where there are logits
    windows:  layers that attend to the last so many tokens only, where these are fewer than the sequence has
    """

    heads: Arrays
    tokens: Arrays
    windows: Mapping[int, int]

    def subset(self, sequences: slice) -> PeriodObservations:
        heads, tokens = (
            {name: array[sequences] for name, array in arrays.items()} for arrays in (self.heads, self.tokens)
        )
        return PeriodObservations(heads, tokens, self.windows)


@dataclass(frozen=True)
class Observations:
    """What was seen on sequences that repeat and on their controls, one entry a period, the longest first."""

    repeated: tuple[PeriodObservations, ...]
    control: tuple[PeriodObservations, ...]

    def subset(self, sequences: slice) -> Observations:
        """Of some of the sequences of each period."""
        repeated, control = (tuple(one.subset(sequences) for one in side) for side in (self.repeated, self.control))
        return Observations(repeated, control)


@dataclass(frozen=True)
class ModelObservations(Observations):
    """What was seen of the model itself.

    permuted:           the same sequences as heads with permuted W_Q and W_K attend to them, draw by draw; none without
                        weights to permute
    mean_z:             of each head, over the controls: what replaces it in a mean ablation
    shuffled:           [sequence, pos - 1] by name, see `NextTokenLoss`: on the shuffled repeats of the longest period;
                        empty without logits
    other_definitions:  [sequence, layer, head] by definition, at the longest period; empty unless asked for
    """

    permuted: tuple[Observations, ...]
    mean_z: Float64[Tensor, "layer head d_head"]
    shuffled: Arrays
    other_definitions: Arrays


def observe(
    experiment: Experiment, other_definitions: bool = False, progress: Callable[[float], None] = lambda done: None
) -> ModelObservations:
    """Send every sequence and every control through the model once, and the shuffled repeats of the longest period.

    Heads with permuted weights read the same states, beside the same passes.

    progress:  told which fraction is finished
    """
    part, nulls = experiment.passes.part, permuted_attention(experiment)
    repeated, control = [], []
    for place, inputs in enumerate(experiment.periods):
        progress(place / len(experiment.periods))
        also = other_definitions and place == 0
        repeated.append(part(f"repeats-{place}", partial(_observe_repeats, experiment, inputs, nulls, also)))
        control.append(part(f"controls-{place}", partial(_observe_controls, experiment, inputs, nulls)))
    by_draw = zip(*(zip(*(one.seen for one in side), strict=True) for side in (repeated, control)), strict=True)
    own, *permuted = (Observations(of_repeated, of_control) for of_repeated, of_control in by_draw)
    mean_z = torch.stack([one.total_z for one in control]).sum(dim=0) / sum(one.tokens for one in control)
    shuffled = part("shuffled-repeats", lambda: _observe_shuffled(experiment))
    return ModelObservations(
        own.repeated, own.control, tuple(permuted), mean_z, shuffled, repeated[0].other_definitions
    )  # fmt: skip


def permuted_attention(experiment: Experiment) -> list[PermutedAttention]:
    """The draws of permuted weights; none without weights to permute."""
    if isinstance(experiment.access.weights, NotApplicable):
        return []
    n_layers, n_heads = experiment.heads
    draws = range(number_of_draws(n_layers * n_heads))
    return [PermutedAttention(experiment.access.weights, experiment.seed, draw) for draw in draws]


def number_of_draws(heads: int) -> int:
    """More where there are few heads to pool over."""
    fewest, most = NULL_DRAWS
    return max(fewest, min(most, 64 // heads))


def _observe_shuffled(experiment: Experiment) -> Arrays:
    loss = _loss(experiment)
    if loss is None:
        return {}
    experiment.passes.send(SHUFFLED_REPEATS, experiment.periods[0].shuffled, [loss])
    return loss.arrays()


@dataclass(frozen=True)
class Repeats:
    """What was seen of the repeated sequences of one period: of the model, and of every null.

    other_definitions:  empty unless asked for
    """

    seen: list[PeriodObservations]
    other_definitions: Arrays


@dataclass(frozen=True)
class Controls:
    """What was seen of the controls of one period, and each head's z summed over all their tokens."""

    seen: list[PeriodObservations]
    total_z: Float64[Tensor, "layer head d_head"]
    tokens: int


def _observe_repeats(
    experiment: Experiment, inputs: PeriodInputs, nulls: Sequence[PermutedAttention], other_definitions: bool
) -> Repeats:
    others = OtherDefinitions(inputs.period)
    seen = _observe_period(experiment, inputs, "repeated", [others] if other_definitions else [], nulls)
    return Repeats(seen, others.arrays())


def _observe_controls(experiment: Experiment, inputs: PeriodInputs, nulls: Sequence[PermutedAttention]) -> Controls:
    z = MeanZ()
    seen = _observe_period(experiment, inputs, "control", [z], nulls)
    return Controls(seen, z.total(), z.count)


def _observe_period(
    experiment: Experiment,
    inputs: PeriodInputs,
    side: Literal["repeated", "control"],
    also: Sequence[Watcher],
    nulls: Sequence[PermutedAttention],
) -> list[PeriodObservations]:
    """Of the model, and of every null."""
    own = PeriodWatchers.of_model(experiment, inputs)
    of_nulls = [PeriodWatchers.of_null(experiment, inputs, repeats=side == "repeated") for _ in nulls]
    beside = [Beside(null.project, watchers.all) for null, watchers in zip(nulls, of_nulls, strict=True)]
    purpose = REPEATED if side == "repeated" else CONTROLS
    experiment.passes.send(purpose, getattr(inputs, side), [*own.all, *also], beside)
    return [watchers.observations() for watchers in (own, *of_nulls)]


@dataclass(frozen=True)
class PeriodWatchers:
    """All who watch the passes over one period's sequences, or over its controls."""

    attention: HeadAttention
    loss: NextTokenLoss | None
    attribution: LogitAttribution | None

    @classmethod
    def of_model(cls, experiment: Experiment, inputs: PeriodInputs) -> PeriodWatchers:
        """Everything, and losses at the longest period."""
        attention = HeadAttention(inputs.law, inputs.other_offsets, kept_offsets(inputs.period))
        longest = inputs is experiment.periods[0]
        return cls(attention, _loss(experiment) if longest else None, _attribution(experiment, inputs))

    @classmethod
    def of_null(cls, experiment: Experiment, inputs: PeriodInputs, repeats: bool) -> PeriodWatchers:
        """What nulls are made of: attention, and on repeats what heads add to the logits."""
        attention = HeadAttention(inputs.law, inputs.other_offsets)
        return cls(attention, None, _attribution(experiment, inputs) if repeats else None)

    @property
    def all(self) -> list[Watcher]:
        return [watcher for watcher in (self.attention, self.loss, self.attribution) if watcher is not None]

    def observations(self) -> PeriodObservations:
        heads = self.attention.arrays() | (self.attribution.arrays() if self.attribution else {})
        return PeriodObservations(heads, self.loss.arrays() if self.loss else {}, self.attention.windows)


def _loss(experiment: Experiment) -> NextTokenLoss | None:
    return NextTokenLoss(experiment.subject) if experiment.access.no_logits is None else None


def _attribution(experiment: Experiment, inputs: PeriodInputs) -> LogitAttribution | None:
    direct_path = experiment.access.direct_path
    if isinstance(direct_path, NotApplicable):
        return None
    return LogitAttribution(experiment.subject.final_norm, inputs.law, *direct_path)


def even_attention(inputs: PeriodInputs) -> Mapping[str, Float64[np.ndarray, "*offset"]]:
    """What attention spread evenly over everything seen would score, named as by `HeadAttention`."""
    nothing = torch.zeros(1, 1, inputs.law.length, 1)
    watcher = HeadAttention(inputs.law, (), kept_offsets(inputs.period))
    scores = watcher.reduce(AttentionScores.of(nothing, nothing), 0)
    return {name: values[0, 0].double().numpy() for name, values in scores.items()}
