"""What the measures show: whether the first layer attends to labels, copies them, and whether answers need the copies.

Three conditions, of a checkpoint's whole intervals, or of each seed's own numbers:

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
from jaxtyping import Bool, Float

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

Called = Literal["copies", "unused", "attends", "in part", "none", "seeds differ", "undefined"]
Flags = Bool[np.ndarray, " seed"]
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
        kinds = set(self.by_seed)
        return kinds.pop() if len(kinds) == 1 else "seeds differ"

    @cached_property
    def by_seed(self) -> tuple[Called, ...]:
        """Of each seed; of a checkpoint, one."""
        flags = np.broadcast_arrays(self.attends, self.sensitive, self.needed)
        return tuple(_called(*of_one) for of_one in np.stack(flags, axis=1).tolist())

    @cached_property
    def attends(self) -> Flags:
        score = self.measures["first_layer_score"]
        low, _ = _ends(score)
        return _clears(score) & (low >= score.nulls[EVEN].max() + ATTENDS)

    @cached_property
    def sensitive(self) -> Flags:
        following, rest = (self.measures["copy_sensitivity"].sel(**{TO: kind}) for kind in (NEXT, WITHOUT_NEXT))
        return _clears(following) & (_ends(following)[0] >= TIMES * _ends(rest)[1])

    @cached_property
    def needed(self) -> Flags:
        return _ends(self.measures["loss_rise"].sel(**{CANDIDATE: WITHOUT_COPIES}))[0] >= NEEDED

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
    def score(self) -> Measure:
        return self.measures["first_layer_score"]

    @property
    def even(self) -> float:
        return float(self.measures["first_layer_score"].nulls[EVEN].mean())


def _called(attends: bool, sensitive: bool, needed: bool) -> Called:
    if needed:
        return "copies" if attends and sensitive else "in part"
    if attends:
        return "unused" if sensitive else "attends"
    return "none"


def _ends(measure: Measure) -> tuple[Float[np.ndarray, " seed"], Float[np.ndarray, " seed"]]:
    """Both ends of a checkpoint's interval. Seeds stand for themselves: their mean may be that of no model."""
    if measure.points is None:
        return np.atleast_1d(measure.interval[0]), np.atleast_1d(measure.interval[1])
    return measure.points, measure.points


def _clears(measure: Measure) -> Flags:
    """Whether it lies above every sample of every null."""
    nulls = np.concatenate([np.ravel(samples) for samples in measure.nulls.values()])
    return _ends(measure)[0] > np.nanmax(nulls)


def verdicts_of_heads(measures: Mapping[str, Measure]) -> dict[str, str]:
    """Heads of any layer that attend to labels as `Standing.attends` asks of the first one's."""
    scores = measures["prefix_matching_score"]
    if scores.axes != ("layer", "head"):
        return {}
    least = np.nanmax(np.concatenate(list(scores.nulls.values())), axis=0)
    clear = (scores.interval[0] > least) & (scores.interval[0] >= scores.nulls[EVEN][0] + ATTENDS)
    return {head_name((layer, head)): HEAD if held else "none" for (layer, head), held in np.ndenumerate(clear)}
