"""Figures of panels of rows: a measure without axes a row, with its interval, its nulls and its seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from ...drawing import legends, marks
from ...drawing.marks import Look
from ...measure import Measure

if TYPE_CHECKING:
    import pandas as pd

    from ...drawing.page import Page

Rows = Sequence[tuple[Look, Measure]]
_AROUND, _ROW = 0.48, 0.17
"""Inches of a panel around its rows, and of a row."""


def rows_figure(
    panels: Mapping[str, Rows],
    page: Page,
    columns: int,
    limits: Mapping[str, tuple[float, float]],
    dotted: Mapping[str, float],
    dotted_label: str = "",
    **grid: Any,
) -> pd.DataFrame | None:
    """None where no row has a number.

    limits:        of the x axis of each panel, by title
    dotted:        where panels have an upright dotted line, by title
    dotted_label:  of that line, for the legend
    grid:          what `Page.grid` takes beside
    """
    panels = {title: rows for title, rows in panels.items() if rows}
    if not any(measure.has_number for rows in panels.values() for _, measure in rows):
        return None
    shown = page.chosen(panels)
    heights = [_AROUND + _ROW * max(len(rows), 2) for rows in shown.values()]
    axes = page.grid(len(shown), columns, heights, **grid)
    tables = []
    for (title, rows), ax in zip(shown.items(), axes, strict=True):
        tables.append(marks.rows(rows, ax, title))
        if title in dotted:
            marks.reference(ax, dotted[title])
        ax.set(title=title, xlabel=marks.unit_label(rows[0][1]), xlim=limits[title])
    keys = legends.keys(measure for rows in shown.values() for _, measure in rows)
    if dotted_label and shown.keys() & dotted.keys():
        keys.append(legends.reference_key(dotted_label))
    page.legend(keys)
    return marks.together(tables)


def limits_of(measures: Sequence[Measure], also: float = 0.0) -> tuple[float, float]:
    """A little beyond every number, interval, seed and null of these measures, and beyond another number. Intervals of
    cosines over few seeds may reach beyond 1, where the axis ends.
    """
    held: list[np.ndarray] = [np.array(also)]
    for measure in measures:
        held += [measure.values, *measure.nulls.values(), *([] if measure.points is None else [measure.points])]
        held += [bound.clip(-1, 1) if measure.unit == "cosine" else bound for bound in measure.interval]
    every = np.concatenate([array.ravel() for array in held])
    low, high = float(np.nanmin(every)), float(np.nanmax(every))
    room = 0.08 * (high - low)
    return low - room, high + room
