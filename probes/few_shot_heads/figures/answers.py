"""The figure of answers: how queries are answered after demonstrations, with shuffled labels, and by themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from ...drawing import marks
from ...drawing.row_panels import rows_on
from ..names import ACCURACY, PROBABILITY, WAY
from .looks import WAYS

if TYPE_CHECKING:
    import pandas as pd

    from ...drawing.marks import Look
    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

TITLES = {ACCURACY: "accuracy among labels", PROBABILITY: "p(right label)"}


def answers_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """How queries are answered: the share whose right label is the most probable of the task's labels, and the
    probability of the right label; in context, with shuffled labels, and zero-shot. Bars: 95 % intervals.
    """
    measures = marks.last_step(findings.measures)
    found = {title: by_way(measures.get(name)) for name, title in TITLES.items()}
    found = {title: rows for title, rows in found.items() if rows and not any(part.axes for part in rows.values())}
    if not found:
        return None
    shown = page.chosen(found)
    axes = page.grid(len(shown), 2, 0.6 + 0.21 * len(WAYS), sharey="row")
    table = rows_on(axes, shown, page)
    for ax in axes:
        ax.set_xlim(-0.03, 1.03)
    return table


def by_way(measure: Measure | None) -> Mapping[Look, Measure]:
    """A measure of answers by its look; {} where it is not there or has no number."""
    if measure is None or WAY not in measure.axes or not measure.has_number:
        return {}
    return {look: measure.sel(**{WAY: way}) for way, look in WAYS.items()}
