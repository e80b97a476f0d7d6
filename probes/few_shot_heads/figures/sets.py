"""Figures of sets of heads on held-out tasks: what their ablation costs, and what they do together when put in."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...drawing import marks
from ...drawing.row_panels import rows_on
from ..names import DROP, DROP_OF_PROBABILITY, GROUP, GROUP_EFFECT, PATCH
from .looks import GROUPS, PATCHES

if TYPE_CHECKING:
    import pandas as pd

    from ...drawing.marks import Look
    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

DROPS = {DROP: "fall of the accuracy", DROP_OF_PROBABILITY: "fall of p(right label)"}


def ablation_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Cost of ablating sets of heads on tasks that did not choose them: how much the accuracy in context, and the
    probability of the right label, fall when all outputs of a set at the last position are replaced by their means over
    prompts with shuffled labels. Bars: 95 % intervals. Grey: random sets of as many heads of the same layers. Dotted
    line: no cost.
    """
    measures = marks.last_step(findings.measures)
    return _figure({title: _rows(measures.get(name)) for name, title in DROPS.items()}, page)


def sets_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """What sets of heads do together on tasks that did not choose them: how much the probability of the right label
    rises in prompts with shuffled labels when all outputs of a set are replaced by those of the task's prompts, or of
    the query's own. Bars: 95 % intervals. Grey: the same from prompts whose labels are shuffled another time. Dotted
    line: no effect.
    """
    effect = marks.last_step(findings.measures).get(GROUP_EFFECT)
    if effect is None or PATCH not in effect.axes:
        return None
    return _figure({title: _rows(effect.sel(**{PATCH: patch})) for patch, title in PATCHES.items()}, page)


def _rows(measure: Measure | None) -> dict[Look, Measure]:
    """The sets that have a number."""
    if measure is None or GROUP not in measure.axes:
        return {}
    found = {look: measure.sel(**{GROUP: group}) for group, look in GROUPS.items()}
    return {look: part for look, part in found.items() if not part.axes and part.has_number}


def _figure(found: Mapping[str, Mapping[Look, Measure]], page: Page) -> pd.DataFrame | None:
    drawn = {title: rows for title, rows in found.items() if rows}
    if not drawn:
        return None
    shown = page.chosen(drawn)
    axes = page.grid(len(shown), 2, 0.6 + 0.21 * max(map(len, shown.values())), sharey="row")
    nulls = marks.null_names(measure for rows in shown.values() for measure in rows.values())
    table = rows_on(axes, shown, page, nulls)
    for ax in axes:
        marks.reference(ax, x=0)
    return table
