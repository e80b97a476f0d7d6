"""What a layer is called, read off measures."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..comparing.numbers import Number, number
from ..comparing.verdicts import AGREES, NOTHING
from ..measure import Measure
from .names import BLOCK, FORM, FORMS, LAYER, STEP, UNTRAINED, Form

AHEAD = 0.5
"""Of the least distance of all untrained weights. With one or two inputs there are so few entries that some of them lie
near a step by chance: one in fifty is nearer than fifty others are."""
Called = Literal["step", "ascent", "mixed", "closest", "none", "empty"]


@dataclass(frozen=True)
class Verdict:
    """Of one layer, or of all layers that share one block.

    called:     step      at most 10 % of its norm is off the form, and at most half as much as of any untrained weights
                ascent    the same, but every direction goes up the loss; mixed: some directions do
                closest   at most 50 % of its norm is off the form, and at most half as much as of any untrained weights
                none      more; empty: all its weights are 0
    form:       the one with the fewest free numbers that is as near
    away:       share of the layer's norm that is off the form
    untrained:  that of all untrained weights
    """

    layer: int
    called: Called
    form: Form
    away: Number
    untrained: np.ndarray


def verdicts(measures: Mapping[str, Measure]) -> list[Verdict]:
    """One for each distinct block."""
    return [_verdict(measures, layer) for layer in range(len(measures["step_size"].labels(LAYER)))]


def of_layer(measure: Measure, layer: int) -> Measure:
    """A measure at one layer; one that has no number at all has no layers either."""
    return measure.at(layer=layer) if LAYER in measure.axes else measure


def _verdict(measures: Mapping[str, Measure], layer: int) -> Verdict:
    distances = measures["form_distance"]
    held = {form: distances.sel(**{FORM: form.name}) for form in FORMS if form.name in distances.labels(FORM)}
    away = {form: number(of_layer(measure, layer)) for form, measure in held.items()}
    nulls = {form: of_layer(measure, layer).nulls.get(UNTRAINED, np.empty(0)) for form, measure in held.items()}
    nearest = min(away, key=lambda form: away[form].value)

    def judged(called: Called, form: Form) -> Verdict:
        return Verdict(layer, called, form, away[form], nulls[form])

    if np.isnan(away[nearest].value):
        return judged("empty", nearest)
    ahead = [form for form in away if away[form].value <= AHEAD * nulls[form].min()]
    if alike := [form for form in ahead if _highest(away[form]) <= AGREES]:
        return judged(_direction(measures, layer), alike[0])
    if near := [form for form in ahead if away[form].value <= min(NOTHING, away[nearest].value + AGREES)]:
        return judged("closest", near[0])
    return judged("none", nearest)


def _highest(share: Number) -> float:
    return share.value if np.isnan(share.high) else share.high


def _direction(measures: Mapping[str, Measure], layer: int) -> Called:
    """Whether a step goes down the loss; a layer that curves x and hardly steps goes nowhere."""
    least, largest = (of_layer(measures[f"{end}_step_size"], layer).estimate for end in ("least", "largest"))
    if least > 0 or measures["block_share"].sel(**{BLOCK: STEP}).at(layer=layer).estimate <= AGREES:
        return "step"
    return "ascent" if largest < 0 else "mixed"
