"""What the measures show: whether the first layer attends to labels, copies them, and whether answers need the copies.

Three conditions, each of whole intervals:

    attends    the best head of the first layer pays x tokens' labels more attention than every null, and `ATTENDS` more
               than even attention
    sensitive  tokens after it are more sensitive to the next token than in every untrained model, and `TIMES` as
               sensitive as to the others
    needed     without what is copied the loss rises by `NEEDED` of that of a step of gradient descent
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from ..comparing.by_candidate import CANDIDATE, MODEL
from ..comparing.numbers import Number, number
from ..findings import head_name
from ..measure import Measure
from .names import (
    ATTENDS,
    EVEN,
    LEARNED,
    NEEDED,
    NEXT,
    SAME,
    TIMES,
    TO,
    WITHOUT_COPIES,
    WITHOUT_NEXT,
    ZERO,
)

Called = Literal["copies", "unused", "attends", "in part", "none", "undefined"]
Beside = Literal["same", "above", "below", "open", "zero"]
HEAD = "attends to labels"


@dataclass(frozen=True)
class Standing:
    """Read off the measures of one checkpoint, or of several seeds at the same step."""

    measures: Mapping[str, Measure]

    @property
    def defined(self) -> bool:
        return self.measures["first_layer_score"].has_number and bool(np.isfinite(self.gap(MODEL).value))

    @cached_property
    def called(self) -> Called:
        if not self.defined:
            return "undefined"
        if self.needed:
            return "copies" if self.attends and self.sensitive else "in part"
        if self.attends:
            return "unused" if self.sensitive else "attends"
        return "none"

    @property
    def attends(self) -> bool:
        score = self.measures["first_layer_score"]
        return bool(_clears(score) and score.interval[0] >= score.nulls[EVEN].max() + ATTENDS)

    @property
    def sensitive(self) -> bool:
        following = self.measures["copy_sensitivity"].sel(**{TO: NEXT})
        return bool(_clears(following) and following.interval[0] >= TIMES * self.to(WITHOUT_NEXT).high)

    @property
    def needed(self) -> bool:
        return number(self.measures["loss_rise"].sel(**{CANDIDATE: WITHOUT_COPIES})).low >= NEEDED

    @property
    def beside(self) -> Beside:
        """The model's loss beside that of a tuned step, or of answering zero."""
        gap = self.gap(MODEL)
        if self.loss(MODEL).high > LEARNED * self.loss(ZERO).value and gap.low > SAME:
            return "zero"
        if gap.low >= -SAME and gap.high <= SAME:
            return "same"
        if gap.low > SAME:
            return "above"
        return "below" if gap.high < -SAME else "open"

    def loss(self, name: str) -> Number:
        return number(self.measures["loss"].sel(**{CANDIDATE: name}))

    def gap(self, name: str) -> Number:
        return number(self.measures["loss_gap"].sel(**{CANDIDATE: name}))

    def to(self, kind: str) -> Number:
        return number(self.measures["copy_sensitivity"].sel(**{TO: kind}))

    @property
    def score(self) -> Number:
        return number(self.measures["first_layer_score"])

    @property
    def even(self) -> float:
        return float(self.measures["first_layer_score"].nulls[EVEN].mean())


def _clears(measure: Measure) -> bool:
    """Whether the whole interval lies above every sample of every null."""
    nulls = np.concatenate([np.ravel(samples) for samples in measure.nulls.values()])
    return bool(measure.interval[0] > np.nanmax(nulls))


def verdicts_of_heads(measures: Mapping[str, Measure]) -> dict[str, str]:
    """Heads of any layer that attend to labels as `Standing.attends` asks of the first one's."""
    scores = measures["prefix_matching_score"]
    if scores.axes != ("layer", "head"):
        return {}
    least = np.nanmax(np.concatenate(list(scores.nulls.values())), axis=0)
    clear = (scores.interval[0] > least) & (scores.interval[0] >= scores.nulls[EVEN][0] + ATTENDS)
    return {head_name((layer, head)): HEAD if held else "none" for (layer, head), held in np.ndenumerate(clear)}
