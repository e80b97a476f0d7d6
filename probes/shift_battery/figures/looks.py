"""How the model and each rule are drawn."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...comparing.by_candidate import CANDIDATE, MODEL
from ...drawing.marks import BLACK, BLUE, GREEN, OLIVE, ORANGE, PURPLE, SKY, VERMILION, Look
from .. import names

if TYPE_CHECKING:
    from ...measure import Measure

_LOOKS = {
    MODEL: ("model", VERMILION, "o", "-"),
    names.GD: (names.LABELS[names.GD], BLUE, "s", "--"),
    names.GD_MEAN: (names.LABELS[names.GD_MEAN], OLIVE, "P", (0, (1, 1))),
    names.PRECONDITIONED: (names.LABELS[names.PRECONDITIONED], SKY, "v", (0, (5, 1))),
    names.GDPP: (names.LABELS[names.GDPP], PURPLE, "^", ":"),
    names.RIDGE: (names.LABELS[names.RIDGE], GREEN, "D", "-."),
    names.LEAST_SQUARES: (names.LABELS[names.LEAST_SQUARES], ORANGE, "X", (0, (4, 2))),
    names.BAYES: (names.LABELS[names.BAYES], BLACK, "*", (0, (3, 1, 1, 1, 1, 1))),
}
"""The zero predictor has nothing to draw: its response is 0, and its loss 1."""


def curves(measure: Measure | None) -> dict[Look, Measure]:
    """The parts of a measure by rule, those that are drawn; the model comes last, on top. {} where there are none."""
    if measure is None or CANDIDATE not in measure.axes:
        return {}
    order = [name for name in (*_LOOKS, MODEL) if name in measure.labels(CANDIDATE)]
    order = [name for number, name in enumerate(order) if name not in order[number + 1 :]]
    return {Look(*_LOOKS[name]): measure.sel(**{CANDIDATE: name}) for name in order}
