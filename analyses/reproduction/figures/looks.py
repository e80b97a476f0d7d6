"""What a curve looks like, by what it is of: the same in all figures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from ....probes.drawing.marks import BLACK, BLUE, GREEN, GREY, OLIVE, ORANGE, PURPLE, SKY, VERMILION, Look
from ..panels import Curve, CurvePanel, Panel, Role

BY_ROLE: dict[Role, Look] = {
    "model": Look("", VERMILION, "o", "-"),
    "gd": Look("", BLUE, "s", "--"),
    "gdpp": Look("", GREEN, "D", "-."),
    "twin": Look("", BLUE, "s", "--"),
    "interpolated": Look("", PURPLE, "^", ":"),
    "ablated": Look("", ORANGE, "v", "-."),
    "null": Look("", GREY, "X", ":"),
    "other": Look("", OLIVE, "P", "-"),
}
FURTHER = (
    Look("", SKY, "v", (0, (4, 1, 1, 1))),
    Look("", PURPLE, "P", (0, (2, 1))),
    Look("", BLACK, "^", (0, (6, 1.5))),
    Look("", ORANGE, "D", (0, (1, 1))),
    Look("", GREEN, "h", (0, (5, 1, 1, 1, 1, 1))),
    Look("", OLIVE, "X", "--"),
)
"""Of further labels of a role that has a curve already."""


def looks_of(panels: Sequence[Panel]) -> dict[str, Look]:
    """The look of each label, in the order in which they come; no two of a figure have the same colour while there is
    another.
    """
    roles: dict[str, Role] = {curve.label: curve.role for curve in curves_of(panels)}
    first: dict[Role, str] = {role: label for label, role in reversed(roles.items())}
    taken = {BY_ROLE[role].color for role in first}
    free = [look for look in FURTHER if look.color not in taken] or list(FURTHER)
    found: dict[str, Look] = {}
    further = 0
    for label, role in roles.items():
        look = BY_ROLE[role]
        if first[role] != label:
            look = free[further % len(free)]
            further += 1
        found[label] = replace(look, label=label)
    return found


def curves_of(panels: Sequence[Panel]) -> list[Curve]:
    return [curve for panel in panels if isinstance(panel, CurvePanel) for curve in panel.curves]


def seeds_of(panel: CurvePanel) -> set[str]:
    """The labels that several curves of a panel share: of single seeds."""
    labels = [curve.label for curve in panel.curves]
    return {label for label in labels if labels.count(label) > 1}
