"""Single numbers of measures, by name: `loss_model`, and of a measure with axes `excess[layer=1,head=0]`."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...probes.measure import Measure

STEP = "step"
Cell = tuple[int, ...]


def parsed(name: str) -> tuple[str, dict[str, str]]:
    """The measure that a name names, and the labels in its brackets, as texts by axis."""
    measure, bracket, places = name.strip().removesuffix("]").partition("[")
    pairs = [place.partition("=") for place in places.split(",")] if bracket else []
    return measure, {axis.strip(): label.strip() for axis, _, label in pairs}


def cells(name: str, measure: Measure, wanted: Mapping[str, str] | None = None) -> dict[str, Cell]:
    """The single numbers of a measure by name, and where each stands among its values. Of several steps it is the last
    one, unless a step is wanted.

    wanted:  labels as texts, along some of the axes; other numbers are left out
    """
    wanted = wanted or {}
    named = [axis for axis in measure.axes if axis != STEP or STEP in wanted]
    labels = {axis: measure.labels(axis) for axis in measure.axes}
    found = {}
    for cell in np.ndindex(measure.values.shape):
        place = dict(zip(measure.axes, cell, strict=True))
        texts = {axis: str(labels[axis][index]) for axis, index in place.items()}
        is_last = STEP in named or place.get(STEP, -1) in (-1, len(labels.get(STEP, ())) - 1)
        if is_last and all(texts.get(axis) == text for axis, text in wanted.items()):
            inside = ",".join(f"{axis}={texts[axis]}" for axis in named)
            found[f"{name}[{inside}]" if inside else name] = cell
    return found


def number(measure: Measure, cell: Cell) -> Measure:
    """One number of a measure, with its interval and null models."""
    return measure.at(**dict(zip(measure.axes, cell, strict=True)))
