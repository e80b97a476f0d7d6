"""Names, colours, markers and lines of the trained model, its twins and its rivals in every figure of gd-alignment."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING

from ...drawing.marks import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION, Look

if TYPE_CHECKING:
    from ...measure import Measure

MODEL = Look("trained model", VERMILION, "o", "-")
INTERPOLATED = Look("interpolated", PURPLE, "^", ":")
OTHER_SEED = Look("another seed", PURPLE, "v", ":")
TWINS = {
    "gd": Look("GD twin", BLUE, "s", "--"),
    "gdpp": Look("GD++ twin", GREEN, "D", "-."),
}
CONTROLS = {
    "unaligned": Look("not aligned", ORANGE, "^", "--"),
    "wrong_rate": Look("wrong rate", SKY, "v", "-."),
    "rotated": Look("rotated KQ", GREY, "X", ":"),
}
_RIVALS = {
    "ridge": "ridge",
    "min_norm": "min-norm least squares",
    "mean_label": "mean label",
    "zero": "zero predictor",
}


def look(other: str) -> Look:
    """How a twin or a rival is drawn and called."""
    if other in TWINS:
        return TWINS[other]
    return Look(label(other), "#4D4D4D", "^", ":")


def label(name: str) -> str:
    if steps := re.fullmatch(r"gd_(\d+)", name):
        return f"GD, {steps[1]} step{'' if steps[1] == '1' else 's'}"
    if name == "model":
        return MODEL.label
    return TWINS[name].label if name in TWINS else _RIVALS.get(name, name.replace("_", " "))


def others(measures: Mapping[str, Measure], prefix: str) -> list[str]:
    """Twins and rivals that have a measure `prefix + name`."""
    return in_order(name.removeprefix(prefix) for name in measures if name.startswith(prefix))


def in_order(names: Iterable[str]) -> list[str]:
    """Twins first, then gradient descent by its steps, then the other rivals; names that are neither are left out."""
    held = set(names)
    steps = sorted((name for name in held if re.fullmatch(r"gd_\d+", name)), key=lambda name: int(name[3:]))
    return [name for name in (*TWINS, *steps, *_RIVALS) if name in held]
