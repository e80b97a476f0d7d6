"""The figure of a probe that has none of its own: every single number as a dot with its interval and nulls."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from ..findings import Findings
from . import legends, marks
from .page import Build, Page

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..measure import Measure


def _by_unit(findings: Findings) -> dict[str, dict[str, Measure]]:
    units: dict[str, dict[str, Measure]] = {}
    for name, measure in marks.last_step(findings.measures).items():
        if not measure.axes:
            units.setdefault(measure.unit, {})[name] = measure
    return units


def plot_measures(unit: str, measures: Mapping[str, Measure], ax: Axes) -> pd.DataFrame:
    """Measures of one unit as dots with intervals and nulls, one a row."""
    table = marks.rows([(marks.Look(name), measure) for name, measure in measures.items()], ax, panel=unit)
    ax.set_xlabel(unit)
    return table


def measures_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Every measure that is a single number, with its 95 % interval and its nulls; one panel a unit."""
    units = _by_unit(findings)
    if not units:
        return None
    shown = page.chosen(units)
    heights = [0.2 * len(found) + 0.4 for found in shown.values()]
    axes = page.grid(len(shown), 1, heights, width=page.style.column)
    tables = [plot_measures(unit, found, ax) for (unit, found), ax in zip(shown.items(), axes, strict=True)]
    page.legend(legends.keys(measure for found in shown.values() for measure in found.values()))
    return marks.together(tables)


FIGURES: Mapping[str, Build] = {"measures": measures_figure}
