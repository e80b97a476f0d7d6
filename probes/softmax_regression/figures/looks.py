"""Colours, markers and lines of the model, of candidates and of bounds in every figure of softmax-regression."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...comparing.by_candidate import CANDIDATE, MODEL
from ...drawing.marks import BLACK, BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, Look
from ..names import CANDIDATES, COPY, GAUSS_NEWTON, GD, SMOOTHER, STEPS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ...measure import Measure

TRAINED = Look("model", VERMILION, "o", "-")
_OWN = {
    GD.name: (BLUE, "s", "--"),
    **dict.fromkeys([name for name, steps in STEPS.items() if steps > 1], (SKY, "s", "--")),
    GAUSS_NEWTON.name: (GREEN, "D", "-."),
    SMOOTHER.name: (PURPLE, "^", "-"),
    COPY.name: (ORANGE, "v", ":"),
}
CANDIDATE_LOOKS: Mapping[str, Look] = {
    name: Look(candidate.label, *_OWN.get(name, ("#4D4D4D", "v", ":"))) for name, candidate in CANDIDATES.items()
}
RATIO = Look("shift / step", VERMILION, "o", "-")
FIRST_ORDER = Look("first-order bound", SKY, "s", "--")
TIGHT = Look("tight bound", BLUE, "D", "-.")
PAPER = Look("the paper's bound", BLACK, ">", ":")
SHIFTS = {"x": Look("weight shift", GREEN, "s", "--"), "A": Look("data shift", VERMILION, "o", "-")}
"""By what moves."""


def by_candidate(measures: Mapping[str, Measure], metric: str) -> dict[str, Measure]:
    """One metric of the model, where it has one, and of each candidate, by name."""
    measure = measures.get(metric)
    if measure is None or CANDIDATE not in measure.axes:
        return {}
    held = measure.labels(CANDIDATE)
    return {name: measure.sel(**{CANDIDATE: name}) for name in (MODEL, *CANDIDATES) if name in held}


def off_the_axis(ax: Axes, row: float, words: str, right: bool = True) -> None:
    """An arrow at one end of a row, whose value is beyond that end, and words for the value."""
    end, beside = (1.0, 0.93) if right else (0.0, 0.07)
    place = ax.get_yaxis_transform()
    ax.plot([end], [row], transform=place, marker=">" if right else "<", ms=4, color=BLACK, clip_on=False)
    ax.text(beside, row, words, transform=place, ha="right" if right else "left", va="center")
