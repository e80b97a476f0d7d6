"""Figures of panels of rows: in each a few measures without axes, a row each, with one legend for all of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd

from . import legends, marks
from .panels import Curves, Scale

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .page import Page

_AROUND, _ROW = 0.55, 0.2
"""Inches of a panel around its rows, and of a row."""


def column_of_rows(panels: Mapping[str, Curves], page: Page, scales: Mapping[str, Scale]) -> pd.DataFrame:
    """Panels of rows one below the other, as wide as a column; see `rows_on`."""
    shown = page.chosen(panels)
    heights = [_AROUND + _ROW * len(rows) for rows in shown.values()]
    axes = page.grid(len(shown), 1, heights, width=page.style.column)
    nulls = marks.null_names(measure for rows in panels.values() for measure in rows.values())
    return rows_on(axes, shown, page, nulls, scales)


def rows_on(
    axes: Sequence[Axes],
    panels: Mapping[str, Curves],
    page: Page,
    nulls: Sequence[str] = (),
    scales: Mapping[str, Scale] | None = None,
) -> pd.DataFrame:
    """Rows of measures on the axes of their panels, with titles and units, and the legend.

    nulls:   all nulls of the figure, where its measures differ in theirs
    scales:  of x axes, by the titles of their panels
    """
    tables = []
    for (title, rows), ax in zip(panels.items(), axes, strict=True):
        tables.append(marks.rows(list(rows.items()), ax, title, nulls))
        ax.set(title=title, xlabel=marks.unit_label(next(iter(rows.values()))))
        if scales and title in scales:
            scales[title](ax, "x")
    page.legend(legends.keys(measure for rows in panels.values() for measure in rows.values()))
    return marks.together(tables)
