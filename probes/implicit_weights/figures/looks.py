"""Colours, markers and lines of rules, of layers and of places."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ...drawing.marks import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, Look
from ..names import BY_NAME, LAYER, OUTPUT, PLACE, PLACES, RULE, spread

if TYPE_CHECKING:
    from ...measure import Measure

MOST_LAYERS = 8
"""More layers than these have no panel of their own: the CSV of the measures has them all."""
_COLORS = (VERMILION, BLUE, GREEN, ORANGE, PURPLE, SKY, BLACK, BLUE)
_MARKERS = ("o", "s", "D", "^", "v", "X", "P", "<")
_LINES = ("-", "--", "-.", ":", "-", "--", "-.", ":")
_MARKS = tuple(zip(_COLORS, _MARKERS, _LINES, strict=True))
RULE_LOOKS = {name: Look(family.label, *mark) for (name, family), mark in zip(BY_NAME.items(), _MARKS, strict=False)}
PLACE_LOOKS = {place: Look(place, *mark) for place, mark in zip(PLACES, _MARKS, strict=False)}
MODEL = Look("model", *_MARKS[0])


def layer_name(label: Any) -> str:
    return "answer" if label == OUTPUT else f"layer {label + 1}"


def shown_layers(measure: Measure) -> dict[int, str]:
    """Places and names of the layers that have a panel of their own, evenly spread, the last among them."""
    labels = measure.labels(LAYER)
    return {place: layer_name(labels[place]) for place in spread(len(labels), MOST_LAYERS)}


def layer_looks(measure: Measure) -> dict[int, Look]:
    """The same as series."""
    return {
        place: Look(name, *mark) for (place, name), mark in zip(shown_layers(measure).items(), _MARKS, strict=False)
    }


def left_out(measure: Measure) -> str:
    """What a heading says where some layers are not drawn."""
    n = len(measure.labels(LAYER))
    return f"{MOST_LAYERS} of {n} layers" if n > MOST_LAYERS else ""


def rules_of(measure: Measure) -> dict[str, Measure]:
    """By rule, those that have a number."""
    parts = {name: measure.sel(**{RULE: name}) for name in measure.labels(RULE)}
    return {name: part for name, part in parts.items() if part.has_number}


def places_of(measure: Measure) -> dict[Look, Measure]:
    parts = {PLACE_LOOKS[place]: measure.sel(**{PLACE: place}) for place in measure.labels(PLACE)}
    return {look: part for look, part in parts.items() if part.has_number}


def counted(name: str, measures: Mapping[str, Measure], place: int) -> Look:
    """A rule with its steps after a layer beside its name; of seeds that differ, the fewest and the most."""
    steps = measures["steps"]
    if name not in steps.labels(RULE):
        return RULE_LOOKS[name]
    held = steps.sel(**{RULE: name})
    if LAYER not in held.axes:
        return RULE_LOOKS[name]
    held = held.at(layer=place)
    found = np.atleast_1d(held.values if held.points is None else held.points)
    found = np.unique(found[np.isfinite(found)])
    if not len(found):
        return RULE_LOOKS[name]
    counts = f"{found[0]:.0f}" if len(found) == 1 else f"{found[0]:.0f} to {found[-1]:.0f}"
    return replace(RULE_LOOKS[name], label=f"{RULE_LOOKS[name].label} ({counts})")


def from_one(measure: Measure) -> Measure:
    """With layers counted from 1, for an axis."""
    labels = tuple(label + 1 for label in measure.labels(LAYER))
    return replace(measure, coords={**measure.coords, LAYER: labels})
