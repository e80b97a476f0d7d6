"""Colours, markers and lines of forms and of layers."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...drawing.marks import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, Look
from ..names import FORM, FORMS, LAYER

if TYPE_CHECKING:
    from ...measure import Measure

MOST_LAYERS = 8
"""More layers than these are not drawn: the CSV of the measures has them all."""
_COLORS = (VERMILION, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, BLUE)
_MARKERS = ("o", "s", "D", "^", "v", "X", "P", "<")
_LINES = ("-", "--", "-.", ":", "-", "--", "-.", ":")
FORM_LOOKS = {
    form.name: Look(form.label, *marks)
    for form, marks in zip(FORMS, zip(_COLORS, _MARKERS, _LINES, strict=True), strict=False)
}


def forms_of(measures: Mapping[str, Measure]) -> dict[Look, Measure]:
    """The distance from each form, in the order of forms."""
    distances = measures["form_distance"]
    return {FORM_LOOKS[name]: distances.sel(**{FORM: name}) for name in distances.labels(FORM)}


def by_layer(measure: Measure) -> dict[Look, Measure]:
    """A measure of every layer, the first ones; one without layers says why it has none, as a single layer."""
    if LAYER not in measure.axes:
        return {Look("layer 1", VERMILION): measure}
    n = min(len(measure.labels(LAYER)), MOST_LAYERS)
    looks = [Look(f"layer {i + 1}", *marks) for i, marks in enumerate(zip(_COLORS, _MARKERS, _LINES, strict=True))]
    return {looks[i]: measure.at(layer=i) for i in range(n)}


def first_layers(measures: Mapping[str, Measure]) -> str:
    """What a heading says where some layers are not drawn."""
    n = len(measures["step_size"].labels(LAYER))
    return f"the first {MOST_LAYERS} of {n} layers" if n > MOST_LAYERS else ""
