"""The main figure: losses, and how far each candidate is from the model, as rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from ...comparing.by_candidate import CANDIDATE, MODEL
from ...drawing import legends, marks, scales
from ...drawing.panels import Curves
from ..names import ATTENDED_GD, EMBEDDING, FEATURE_GD, FEATURE_RIDGE, TWIN, ZERO
from .looks import LOOKS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes

    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

ROW = 0.2
"""Inches of a row."""
PANELS = {
    "loss": ("loss", (MODEL, TWIN, FEATURE_GD, ATTENDED_GD, FEATURE_RIDGE, EMBEDDING, ZERO)),
    "not explained": ("unexplained_share", (FEATURE_GD, ATTENDED_GD)),
    "predictions": ("prediction_difference", (FEATURE_GD, ATTENDED_GD, FEATURE_RIDGE, TWIN)),
    "slopes": ("slope_agreement", (FEATURE_GD, ATTENDED_GD, FEATURE_RIDGE, TWIN)),
}
"""By title: a measure, and the candidates that are drawn."""
LOGARITHMIC = ("loss", "not explained")


def alignment_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Losses of the model and of its candidates; the share of what attention adds to the answers that a step does not
    explain; the mean distance of answers from the model's; and the agreement of slopes with its slopes. Candidates:
    gradient descent and ridge regression on the features of the model's own embedding, a step on labels with inner
    products as attention takes them, the answer read before attention, and the twin. Bars are 95 % intervals, grey
    marks nulls.
    """
    measures = marks.last_step(findings.measures)
    if not marks.has_number(measures["loss"].sel(**{CANDIDATE: MODEL})):
        return None
    panels = _panels(measures)
    shown = page.chosen(panels)
    heights = [ROW * len(entries) + 0.55 for entries in shown.values()]
    axes = page.grid(len(shown), 1, heights, width=page.style.column)
    nulls = marks.null_names(measure for entries in panels.values() for measure in entries.values())
    tables = [_plot(entries, ax, title, nulls) for (title, entries), ax in zip(shown.items(), axes, strict=True)]
    page.legend(legends.keys(measure for entries in shown.values() for measure in entries.values()))
    return marks.together(tables)


def _panels(measures: Mapping[str, Measure]) -> dict[str, Curves]:
    return {
        title: {LOOKS[name]: measures[metric].sel(**{CANDIDATE: name}) for name in names}
        for title, (metric, names) in PANELS.items()
    }


def _plot(entries: Curves, ax: Axes, title: str, nulls: Sequence[str]) -> pd.DataFrame:
    table = marks.rows(list(entries.items()), ax, panel=title, nulls=nulls)
    ax.set(title=title, xlabel=next(iter(entries.values())).unit)
    if title in LOGARITHMIC:
        scales.log_scale(ax, "x")
    return table
