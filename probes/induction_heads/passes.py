"""The passes of induction-heads: over the sequences of each period, over their controls, and under the null."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from einops import einsum
from jaxtyping import Float, Float64, Int
from torch import Tensor

from ...data.batch import generator
from ...data.errors import UsageError
from ...models.language_model import LanguageModel
from ...models.subject import AttentionScores, Edit, NotApplicable, Site
from ...models.weights import AttentionWeights
from ..streaming import Watcher, stream
from .inputs import PeriodInputs
from .nulls import PermutedAttention
from .watchers import HeadAttention, LogitAttribution, MeanZ, NextTokenLoss, kept_offsets

Arrays = Mapping[str, np.ndarray]
PARTS = ("repeated", "controls", "null", "heads taken away", "groups taken away", "own text")
"""What forward passes are spent on."""
_SAME = 0.02  # of the largest number: bfloat16 keeps two digits


@dataclass
class Passes:
    """Sends sequences through a subject, so many at a time, and counts them by what they were for."""

    subject: LanguageModel
    batch_size: int
    spent: dict[str, int] = field(default_factory=lambda: dict.fromkeys(PARTS, 0))

    def over(
        self,
        part: str,
        tokens: Int[Tensor, "sequence pos"],
        watchers: Sequence[Watcher],
        edit: Mapping[Site, Edit] | None = None,
    ) -> None:
        self.spent[part] += len(tokens)
        stream(self.subject, tokens.split(self.batch_size), watchers, edit)


@dataclass(frozen=True)
class Seen:
    """What is known of every sequence of one period (or of its controls): scores of heads, losses of tokens.

    heads:   [sequence, layer, head, …] by name, see `HeadAttention` and `LogitAttribution`
    tokens:  [sequence, pos - 1] by name, see `NextTokenLoss`; empty without logits, and but at the longest period
    """

    heads: Arrays
    tokens: Arrays

    def of(self, which: slice) -> Seen:
        """Of some of the sequences."""
        return Seen(*({name: array[which] for name, array in part.items()} for part in (self.heads, self.tokens)))


@dataclass(frozen=True)
class Sides:
    """What was seen on sequences and on their controls, one entry a period."""

    repeated: tuple[Seen, ...]
    control: tuple[Seen, ...]

    def of(self, which: slice) -> Sides:
        """Of some of the sequences of each period."""
        return Sides(*(tuple(seen.of(which) for seen in side) for side in (self.repeated, self.control)))


@dataclass(frozen=True)
class Abilities:
    """What a subject lets us look at, or why it does not.

    directions:  W_O and W_U, where the direct effect of a head on logits is a product with both
    no_logits:   None where there are logits
    """

    weights: AttentionWeights | NotApplicable
    W_U: Float[Tensor, "d_model d_vocab"] | NotApplicable
    directions: tuple[Tensor, Tensor] | NotApplicable
    no_logits: NotApplicable | None

    @classmethod
    def of(cls, subject: LanguageModel) -> Abilities:
        weights, W_U = subject.weights(), subject.unembedding()
        return cls(weights, W_U, _directions(subject, weights, W_U), _no_logits(subject))


def _directions(
    subject: LanguageModel, weights: AttentionWeights | NotApplicable, W_U: Tensor | NotApplicable
) -> tuple[Tensor, Tensor] | NotApplicable:
    for part in (weights, subject.weights(folded=True), W_U):  # without a norm to fold, norms come after every block
        if isinstance(part, NotApplicable):
            return part
    assert isinstance(weights, AttentionWeights)
    assert isinstance(W_U, Tensor)
    return _unequal_writes(subject, weights) or (weights.W_O, W_U)


def _no_logits(subject: LanguageModel) -> NotApplicable | None:
    try:
        with torch.no_grad():
            subject.unembed(torch.zeros(1, subject.shape.d_model, dtype=subject.dtype, device=subject.device))
    except UsageError as error:
        return NotApplicable(str(error))
    return None


def _unequal_writes(subject: LanguageModel, weights: AttentionWeights) -> NotApplicable | None:
    """Whether attention adds something else to the stream than the sum of z W_O: Gemma 2 normalises it first."""
    tokens = torch.arange(min(3, subject.shape.d_vocab))[None]
    trace = subject.run(tokens, {"z": lambda z, _: z, "attn_out": lambda out, _: out})
    for layer, (z, out) in enumerate(zip(trace.values["z"], trace.values["attn_out"], strict=True)):
        written = einsum(z, weights.W_O[layer], "batch head pos d_head, head d_head d_model -> batch pos d_model")
        if weights.b_O is not None:
            written = written + weights.b_O[layer]
        if not (written - out).abs().max() <= _SAME * out.abs().max():
            return NotApplicable("what the heads of a layer write is normalised before it enters the stream")
    return None


def observe(
    passes: Passes, inputs: Sequence[PeriodInputs], able: Abilities, others: Sequence[Watcher] = ()
) -> tuple[Sides, Mapping[int, int], Float64[Tensor, "layer head d_head"]]:
    """Every sequence and control once: what was seen, the windows that layers attend in, and the controls' mean z.

    others:  who else watches the repeated sequences of the longest period, which come first
    """
    found: tuple[list[Seen], list[Seen]] = ([], [])
    windows: dict[int, int] = {}
    mean = MeanZ()
    for one in inputs:
        for part, tokens, side in (("repeated", one.repeated, found[0]), ("controls", one.control, found[1])):
            watchers = Watchers(passes.subject, one, able, kept_offsets(one.period), losses=one is inputs[0])
            extra = [mean] if part == "controls" else others if one is inputs[0] else []
            passes.over(part, tokens, [*watchers.all, *extra])
            side.append(watchers.seen())
            windows |= watchers.attention.windows
    return Sides(tuple(found[0]), tuple(found[1])), windows, mean.mean()


def observe_null(passes: Passes, inputs: Sequence[PeriodInputs], able: Abilities, seed: int, draw: int) -> Sides | None:
    """The same sequences and controls with W_Q and W_K permuted; None where there are no weights to permute."""
    if isinstance(able.weights, NotApplicable):
        return None
    null = PermutedAttention(passes.subject, able.weights, generator(seed, "permuted weights", draw))
    found: tuple[list[Seen], list[Seen]] = ([], [])
    for one in inputs:
        for tokens, side in ((one.repeated, found[0]), (one.control, found[1])):
            repeats = side is found[0]
            watchers = Watchers(passes.subject, one, able, losses=repeats and one is inputs[0], direct=repeats)
            passes.over("null", tokens, [null, *watchers.all], null.edit)
            side.append(watchers.seen())
    return Sides(tuple(found[0]), tuple(found[1]))


class Watchers:
    """All who watch the passes over one period's sequences.

    losses, direct:  whether tokens' losses and heads' direct effects are wanted, where there are any
    """

    def __init__(
        self,
        subject: LanguageModel,
        one: PeriodInputs,
        able: Abilities,
        offsets: Sequence[int] = (),
        losses: bool = True,
        direct: bool = True,
    ) -> None:
        self.attention = HeadAttention(one.law, one.others, offsets)
        self._loss = NextTokenLoss(subject) if losses and able.no_logits is None else None
        self._direct = None
        if direct and not isinstance(able.directions, NotApplicable):
            self._direct = LogitAttribution(subject.final_norm, one.law, *able.directions)

    @property
    def all(self) -> list[Watcher]:
        return [watcher for watcher in (self.attention, self._loss, self._direct) if watcher is not None]

    def seen(self) -> Seen:
        heads = self.attention.arrays() | (self._direct.arrays() if self._direct else {})
        return Seen(heads, self._loss.arrays() if self._loss else {})


def even_attention(one: PeriodInputs) -> Mapping[str, Float64[np.ndarray, "*offset"]]:
    """What attention spread evenly over everything seen would score, by name; "offsets" as `kept_offsets`."""
    nothing = torch.zeros(1, 1, one.law.length, 1)
    found = HeadAttention(one.law, (), kept_offsets(one.period)).reduce(AttentionScores.of(nothing, nothing), 0)
    return {name: values[0, 0].double().numpy() for name, values in found.items()}
