"""How each rule is drawn: one colour for each kind of rule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from ...comparing.by_candidate import CANDIDATE, MODEL
from ...drawing.marks import BLACK, BLUE, GREEN, ORANGE, PURPLE, VERMILION, Look
from ..names import FAMILIES, TASK_SET

if TYPE_CHECKING:
    from ...measure import Measure

THE_MODEL = Look("model", VERMILION, "o", "-")
_KINDS = (
    (("gd", "preconditioned", "preconditioned_steps", "momentum", "gdpp"), Look("", BLUE, "s", "--")),
    (("newton", "cg", "ridge", "min_norm"), Look("", GREEN, "D", "-.")),
    (("rbf_gd", "exponential_gd", "softmax_gd", "rbf_ridge", "exponential_ridge"), Look("", PURPLE, "^", ":")),
    (("nearest_label", "last_label", "mean_label"), Look("", ORANGE, "v", (0, (1, 1)))),
)
_OF_KIND = {name: kind for names, kind in _KINDS for name in names}
_OTHER = Look("", BLACK, "X", (0, (4, 2)))
_LABELS = {family.name: family.label for family in FAMILIES} | {TASK_SET: "Bayes over the task set"}


def look(name: str) -> Look:
    """A rule at whatever number of steps."""
    return THE_MODEL if name == MODEL else replace(_OF_KIND.get(name, _OTHER), label=_LABELS[name])


def counted(name: str, measures: Mapping[str, Measure]) -> Look:
    """A rule with the steps of its best member beside its name; of seeds that differ, the fewest and the most."""
    steps = rules(measures["steps"]).get(name)
    if steps is None or not steps.has_number:
        return look(name)
    held = np.unique(steps.values if steps.points is None else steps.points)
    counts = f"{held[0]:.0f}" if len(held) == 1 else f"{held[0]:.0f} to {held[-1]:.0f}"
    return replace(look(name), label=f"{look(name).label} ({counts})")


def rules(measure: Measure | None) -> dict[str, Measure]:
    """The parts of a measure by rule, in the order of the contest; {} where there are none."""
    if measure is None or CANDIDATE not in measure.axes:
        return {}
    order = [name for name in (*_LABELS, MODEL) if name in measure.labels(CANDIDATE)]
    return {name: measure.sel(**{CANDIDATE: name}) for name in order}


def by_distance(measures: Mapping[str, Measure]) -> list[str]:
    """The rules that have a share, the closest to the model first."""
    shares = {name: part for name, part in rules(measures.get("unexplained_share")).items() if part.has_number}
    return sorted(shares, key=lambda name: float(shares[name].values))
