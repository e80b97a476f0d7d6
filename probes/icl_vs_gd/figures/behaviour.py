"""Figures of answers: how right they are, how far from each other, and whether the order of demonstrations matters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from ...drawing import marks
from ..names import (
    ACCURACY,
    ANOTHER_ORDER,
    BETWEEN,
    CHANCE,
    DEMOS,
    DISTANCE,
    IN_CONTEXT,
    MATCHED,
    ORDER,
    RIVAL,
    RIVAL_ACCURACY,
    RIVALS,
    RULE,
    WAY,
)
from . import looks
from .rows import rows_figure

if TYPE_CHECKING:
    import pandas as pd

    from ...drawing.marks import Look
    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

_NARROWEST = 2.6
"""Inches of a panel with names of rows."""


def behaviour_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Accuracy among a task's labels, of prompts, after gradient descent on the demonstrations (GD), and of rivals
    without gradients. Total variation from answers in context: of GD and of rivals, beside the same demonstrations in
    another order (the least there can be) and GD on another task's. And from answers after GD: in context, beside other
    runs of the same GD. Bars: 95 % intervals.
    """
    measures = marks.last_step(findings.measures)
    accuracy = looks.parts(measures.get(ACCURACY), WAY, looks.WAYS)
    accuracy |= looks.parts(measures.get(RIVAL_ACCURACY), RIVAL, looks.RIVALS)
    panels = {ACCURACY: accuracy, looks.FROM_CONTEXT: _from_context(measures)}
    for rule, apart in looks.parts(measures.get(DISTANCE), RULE, looks.RULES).items():
        panels[f"distance from {rule.label}"] = looks.parts(apart, BETWEEN, looks.RUNS)
    chance = measures.get(CHANCE)
    dotted = {ACCURACY: chance.estimate} if chance is not None and chance.has_number else {}
    rows = {title: list(found.items()) for title, found in panels.items()}
    return rows_figure(rows, page, 2, dict.fromkeys(rows, looks.FROM_0_TO_1), dotted, "chance", least=_NARROWEST)


def _from_context(measures: Mapping[str, Measure]) -> dict[Look, Measure]:
    """Of another order and of matching, which no rule changes, of each rule and of another task's, and of rivals."""
    by_rule = looks.parts(measures.get(DISTANCE), RULE, looks.RULES)
    once = {ANOTHER_ORDER: replace(looks.IN_CONTEXT, label=ANOTHER_ORDER), MATCHED: looks.MATCHED}
    found: dict[Look, Measure] = {}
    for apart in list(by_rule.values())[:1]:
        found |= looks.parts(apart, BETWEEN, once)
    found |= {rule: apart.sel(**{BETWEEN: IN_CONTEXT}) for rule, apart in by_rule.items()}
    for rule, apart in by_rule.items():
        found |= looks.parts(apart, BETWEEN, {"other": replace(looks.OTHER, label=f"{rule.label}, another task")})
    return found | looks.parts(measures.get(RIVALS), RIVAL, looks.RIVALS)


def order_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Mean total variation between answers to the same demonstrations in different orders, where those of a class have
    one label (clean), and where one of each class has another's (conflicting). Gradient descent (GD) on all
    demonstrations at once has 0. Bars: 95 % intervals.
    """
    measure = marks.last_step(findings.measures).get(ORDER)
    if measure is None or not measure.has_number:
        return None
    panels = {
        f"{kind} demonstrations": list(looks.parts(measure.sel(**{DEMOS: kind}), WAY, looks.WAYS).items())
        for kind in measure.labels(DEMOS)
    }
    return rows_figure(panels, page, 2, dict.fromkeys(panels, looks.FROM_0_TO_1), {}, sharey="row")
