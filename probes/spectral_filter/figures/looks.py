"""How the model and each named filter are drawn, and the layers that are."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ...comparing.by_candidate import CANDIDATE
from ...drawing.marks import BLACK, BLUE, GREEN, OLIVE, ORANGE, PURPLE, SKY, VERMILION, Look
from ..names import LAYER, RULES

if TYPE_CHECKING:
    from ...measure import Measure

MODEL = Look("model", VERMILION, "o", "-")
BEST = Look("best filter", BLACK, "o", "-")
_MARKS = (
    (BLUE, "s", "--"),
    (SKY, "P", (0, (5, 1, 1, 1))),
    (PURPLE, "^", ":"),
    (ORANGE, "v", (0, (1, 1))),
    (GREEN, "D", "-."),
    (OLIVE, "X", (0, (4, 2))),
)
LOOKS = {rule.name: Look(rule.label, *marks) for rule, marks in zip(RULES, _MARKS, strict=True)}
MOST_LAYERS = 8
"""More layers than these are not drawn in panels of their own: the first and the last of them are."""


def at_layer(measure: Measure, layer: int) -> Measure:
    return measure.at(layer=layer) if LAYER in measure.axes else measure


def rules_of(measure: Measure, layer: int) -> dict[str, Measure]:
    """The parts of a measure by named filter, at one layer; those that have a number."""
    parts = {name: at_layer(measure.sel(**{CANDIDATE: name}), layer) for name in measure.labels(CANDIDATE)}
    return {name: part for name, part in parts.items() if part.has_number}


def counted(name: str, steps: Measure, layer: int) -> Look:
    """A filter with its steps in this layer beside its name; of seeds that differ, the fewest and the most."""
    if name not in steps.labels(CANDIDATE):
        return LOOKS[name]
    found = at_layer(steps.sel(**{CANDIDATE: name}), layer)
    held = np.unique(found.values if found.points is None else found.points)
    held = held[np.isfinite(held)]
    counts = f"{held[0]:.0f}" if len(held) == 1 else f"{held[0]:.0f} to {held[-1]:.0f}"
    return replace(LOOKS[name], label=f"{LOOKS[name].label} ({counts})")


def layers_of(measures: Mapping[str, Measure]) -> dict[str, int]:
    """Titles of panels, and layers: the output first, then the layers before it."""
    shares = measures["off_filter_share"]
    n = len(shares.labels(LAYER)) if LAYER in shares.axes else 1
    before = range(min(n - 1, MOST_LAYERS - 1))
    return {"output": n - 1} | {f"after layer {layer + 1}": layer for layer in before}


def not_all(measures: Mapping[str, Measure]) -> str:
    """What a heading says where some layers are not drawn."""
    n = len(measures["off_filter_share"].labels(LAYER)) if LAYER in measures["off_filter_share"].axes else 1
    return f"the output and the first {MOST_LAYERS - 1} of {n} layers" if n > MOST_LAYERS else ""


def measured(measures: Mapping[str, Measure]) -> bool:
    """Whether there was anything to measure."""
    return "not_linear_share" in measures and measures["off_filter_share"].has_number
