"""Colours, markers and lines of ways to answer, of rules, and of what is compared; and parts of measures by look."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ...drawing.marks import BLACK, BLUE, GREEN, OLIVE, ORANGE, PURPLE, SKY, VERMILION, Look
from .. import names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...measure import Measure

DOTS: Any = (0, (1, 1))
FROM_0_TO_1 = (-0.03, 1.03)
FROM_CONTEXT = "distance from answers in context"
RULES = {
    "gd": Look("GD", VERMILION, "D", "--"),
    "lcgd": Look("layer-causal GD", PURPLE, "^", "-."),
    "sgd": Look("stochastic GD", OLIVE, "X", DOTS),
}
IN_CONTEXT = Look("in context", BLUE, "o", "-")
SHUFFLED = Look("shuffled labels", SKY, "v", "--")
OTHER = Look("another task", ORANGE, "s", DOTS)
MATCHED = Look("activation matching", GREEN, "P", "-.")
RANDOM = Look("random weights", BLACK, "X", "-.")
THIRD, ADAM = Look("a third of the rate", VERMILION, "D", "--"), Look("Adam", PURPLE, "^", "-.")

PROMPTS = {
    names.ZERO_SHOT: Look("zero-shot", BLACK, "s", DOTS),
    names.IN_CONTEXT: IN_CONTEXT,
    names.SHUFFLED: replace(SHUFFLED, label="in context, shuffled"),
}
WAYS = {**PROMPTS, **RULES, names.MATCHED: MATCHED}
RIVALS = {
    rival: Look(rival, BLACK, "<")
    for rival in ("nearest demonstration", "last demonstration", "label frequencies", "copy")
}
RUNS = {
    names.IN_CONTEXT: IN_CONTEXT,
    "third rate": THIRD,
    "adam": ADAM,
    "half run": Look("half of the steps", BLACK, "X"),
}
"""Beside tuned parameters of a rule."""
CONTRASTS = {
    names.IN_CONTEXT: IN_CONTEXT,
    "third rate": THIRD,
    "adam": ADAM,
    names.MATCHED: MATCHED,
    "other": OTHER,
    "random weights": RANDOM,
}
SIMILARITIES = {
    "tuned": Look("true labels", BLUE, "o", "-"),
    names.HALVES: Look("halves of demonstrations", PURPLE, "^", "--"),
    names.MATCHED: MATCHED,
    "shuffled": SHUFFLED,
    "other": OTHER,
    "random weights": RANDOM,
    names.ENDPOINT: Look("random endpoint", OLIVE, "D", "--"),
}
GRADIENTS = {
    names.TRUE_LABELS: Look("true labels", BLUE, "o", "-"),
    names.SHUFFLED_LABELS: SHUFFLED,
    names.OTHER_TASK: OTHER,
}


def parts(measure: Measure | None, axis: str, looks: Mapping[str, Look]) -> dict[Look, Measure]:
    """Of a measure, by look, those labels along an axis that have one; {} where it has no such axis."""
    if measure is None or axis not in measure.axes:
        return {}
    held = measure.labels(axis)
    return {look: measure.sel(**{axis: name}) for name, look in looks.items() if name in held}
