"""The figure of the comparison with untrained models, on the tokens that all of them read."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from ...drawing import legends, marks
from ...drawing.marks import BLUE, Look
from ...statistics.null_p import p_words, two_sided_p
from ..names import COMPARISON, STATISTICS, UNTRAINED

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure


def comparison_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """The model beside untrained models of its shape, all of them on the same first tokens of the text. p: two-sided,
    by rank. Correlations, cosines and ratios are those of the last layer after position 0.
    """
    measure = marks.last_step(findings.measures).get(COMPARISON)
    if measure is None:
        return None
    by_unit: dict[str, list[tuple[Look, Measure]]] = {}
    for name, part in measure.apart().items():
        if marks.has_number(part):
            by_unit.setdefault(part.unit, []).append((Look(_label(name, part), BLUE), part))
    shown = page.chosen(by_unit)
    heights = [0.2 * len(rows) + 0.4 for rows in shown.values()]
    tables = []
    for (unit, rows), ax in zip(shown.items(), page.grid(len(shown), 1, heights, width=page.style.page), strict=True):
        tables.append(marks.rows(rows, ax, unit))
        ax.set_xlabel(unit)
        _from_zero(tables[-1], ax)
    nulls = legends.keys(part for rows in shown.values() for _, part in rows)
    page.legend([legends.line_key(Look("this model", BLUE, line="")), *nulls])
    return marks.together(tables)


def _from_zero(table: pd.DataFrame, ax: Axes) -> None:
    """No axis of negative numbers where there are none; one of zeros alone goes to 1."""
    numbers = table[["value", "low", "high"]]
    if numbers.min(axis=None) >= 0:
        highest = ax.get_xlim()[1] if numbers.max(axis=None) > 0 else 1.0
        ax.set_xlim(-0.03 * highest, highest)  # so that marks at 0 are seen whole


def _label(name: str, part: Measure) -> str:
    samples = part.nulls.get(UNTRAINED)
    p = "" if samples is None else f", {p_words(float(two_sided_p(part.values, samples)), len(samples))}"
    return f"{STATISTICS[name].words}{p}"
