"""Figures along training: how queries are answered, and what the ablation of sets of heads costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...drawing import panels
from ..names import ACCURACY, DROP, GROUP, GROUP_EXCESS, OWN_PROMPT, PATCH, TASK_MEAN
from .answers import TITLES, by_way
from .looks import GROUPS, PATCHES

if TYPE_CHECKING:
    import pandas as pd

    from ...drawing.marks import Look
    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

COST = "fall of accuracy, held-out"
_PUT_IN = {patch: f"put in {PATCHES[patch]}" for patch in (TASK_MEAN, OWN_PROMPT)}


def trajectory_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Along training: how queries are answered in context, with shuffled labels, and zero-shot; and what sets of heads
    do on held-out tasks. Fall of accuracy: without the set. Put in: rise of the right label's probability in prompts
    with shuffled labels, beyond another shuffle. Bands: 95 % intervals; thin lines: single seeds. Grey or of the
    curve's colour: random sets of as many heads of the same layers. A set that has no heads at a step has a gap there.
    """
    measures = findings.measures
    drawn = {TITLES[ACCURACY]: {look: part for look, part in by_way(measures.get(ACCURACY)).items() if _over(part)}}
    drawn[COST] = _sets(measures.get(DROP))
    excess = measures.get(GROUP_EXCESS)
    for patch, title in _PUT_IN.items():
        if excess is not None and PATCH in excess.axes:
            drawn[title] = _sets(excess.sel(**{PATCH: patch}))
    return panels.curves_figure({title: curves for title, curves in drawn.items() if curves}, page, columns=2)


def _over(measure: Measure) -> bool:
    return measure.axes == ("step",) and measure.has_number


def _sets(measure: Measure | None) -> dict[Look, Measure]:
    if measure is None or GROUP not in measure.axes:
        return {}
    found = {look: measure.sel(**{GROUP: group}) for group, look in GROUPS.items()}
    return {look: part for look, part in found.items() if _over(part)}
