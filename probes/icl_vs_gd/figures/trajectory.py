"""Figures over training: what demonstrations add, and whether attention and answers come near to gradient descent."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ...drawing import legends, marks, panels
from ...drawing.marks import GREEN, Look
from ..names import (
    ABOVE_FLOOR,
    ACCURACY,
    BETWEEN,
    CHANCE,
    DISTANCE,
    IN_CONTEXT,
    ONSET,
    PLANTED_ABOVE,
    RULE,
    WAY,
)
from . import looks

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from matplotlib.axes import Axes

    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

PLANTED = Look("another run of GD", GREEN, "P", "-.")
_SHARES = (ACCURACY, looks.FROM_CONTEXT)
_ONSET = "learning in context begins"


def trajectory_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Over training: accuracy among a task's labels (dotted: chance); total variation between answers in context and
    after gradient descent on the demonstrations (GD); and the label-swap contrast with GD above its floor (dotted: 0),
    beside that of another run of the same GD. Bands are 95 % intervals, thin lines single seeds. Upright band: from the
    last checkpoint at which demonstrations do not help to the first from which on they do. An axis that is not to scale
    has all checkpoints at equal distances.
    """
    measures = {name: m for name, m in findings.measures.items() if _over_steps(m)}
    if not measures:
        return None
    drawn = {
        ACCURACY: looks.parts(measures.get(ACCURACY), WAY, looks.PROMPTS),
        looks.FROM_CONTEXT: _distances(measures),
    }
    chance = marks.last_step(findings.measures).get(CHANCE)
    dotted = {ACCURACY: chance.estimate} if chance is not None and chance.has_number else {}
    for look, name in {looks.IN_CONTEXT: ABOVE_FLOOR, PLANTED: PLANTED_ABOVE}.items():
        for rule, part in looks.parts(measures.get(name), RULE, looks.RULES).items():
            title = f"contrast above floor, {rule.label}"
            drawn.setdefault(title, {})[look] = part
            dotted[title] = 0.0
    made = {
        title: replace(panel, draw=partial(_draw, panel.draw, dotted.get(title)))
        for title, panel in panels.curves_panels(drawn).items()
    }
    onset = findings.measures.get(ONSET)
    if onset is None or not np.isfinite(onset.values).all():
        return panels.panels_figure(made, page, columns=2)
    start, end = (float(step) for step in onset.values)
    key = legends.span_key(f"{_ONSET}: steps {start:g} to {end:g}")
    return panels.panels_figure(panels.spanned(made, start, end, _ONSET), page, [key], columns=2)


def _over_steps(measure: Measure) -> bool:
    return measure.axes[:1] == ("step",) and measure.has_number


def _distances(measures: Mapping[str, Measure]) -> dict[Look, Measure]:
    """Of each rule."""
    by_rule = looks.parts(measures.get(DISTANCE), RULE, looks.RULES)
    return {rule: apart.sel(**{BETWEEN: IN_CONTEXT}) for rule, apart in by_rule.items()}


def _draw(draw: panels.Draw, dotted: float | None, ax: Axes, panel: str) -> pd.DataFrame:
    table = draw(ax=ax, panel=panel)
    if dotted is not None:
        ax.axhline(dotted, **marks.REFERENCE)
    if panel in _SHARES:
        ax.set_ylim(looks.FROM_0_TO_1)
    return table
