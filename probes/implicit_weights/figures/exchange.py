"""The figure of the causal check."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from ...drawing import legends, marks, panels
from ..names import LAYER
from .looks import from_one, places_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes

    from ...drawing.marks import Look
    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

PANELS = {
    "predicted by descent": ("exchange_followed", "share of the change"),
    "slope": ("exchange_slope", "change / exchanged change"),
}
"""Measure, and label of the axis."""
RANGE = (-0.55, 1.1)


def exchange_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Another task's linear model is put in the place of this task's: in the query's label, in those of the context, or
    in both. Left: the share of the answer's change that gradient descent (or GD++) from there predicts. Right: the
    slope of the change on that between the two models' own answers. Bars and bands are 95 % intervals. Grey, or hatched
    in the colour of a curve: untrained models. Dotted: all of the change. Shares below -0.55 are not drawn.
    """
    measures = marks.last_step(findings.measures)
    drawn = {title: places_of(measures[name]) for title, (name, _) in PANELS.items()}
    drawn = {title: found for title, found in drawn.items() if found}
    if not drawn:
        return None
    first = next(iter(drawn["predicted by descent"].values()))
    if len(first.labels(LAYER)) == 1:
        return _rows(drawn, page, first.labels(LAYER)[0])
    held = {title: {look: from_one(part) for look, part in found.items()} for title, found in drawn.items()}
    table = panels.curves_figure(held, page, columns=2)
    for ax in page.figure.axes if page.ax is None else [page.ax]:
        if ax.get_title() in PANELS:
            low, high = ax.get_ylim()
            ax.set_ylim(max(low, RANGE[0] * 4 if ax.get_title() == "slope" else RANGE[0]), high)
    return table


def _rows(drawn: Mapping[str, Mapping[Look, Measure]], page: Page, layer: int) -> pd.DataFrame:
    """Of a model with one layer to exchange after."""
    shown = page.chosen({title: partial(_plot, found, title) for title, found in drawn.items()})
    axes = page.grid(len(shown), 2, 1.3, least=1.6, sharey="row")
    tables = [draw(ax) for draw, ax in zip(shown.values(), axes, strict=True)]
    page.legend(legends.keys(part.at(layer=0) for found in drawn.values() for part in found.values()))
    page.heading(f"exchanged after layer {layer + 1}")
    return marks.together(tables)


def _plot(found: Mapping[Look, Measure], title: str, ax: Axes) -> pd.DataFrame:
    table = marks.rows([(look, part.at(layer=0)) for look, part in found.items()], ax, panel=title)
    ax.set(title=title, xlabel=PANELS[title][1])
    if title == "predicted by descent":
        ax.set_xlim(RANGE)
        marks.reference(ax, x=1)
    return table
