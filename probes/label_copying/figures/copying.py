"""The main figure: attention to labels, sensitivities and losses, as rows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from ...comparing.by_candidate import CANDIDATE
from ...drawing import legends, marks, scales
from ...drawing.panels import Curves
from ..names import TO
from .looks import LOSSES, SCORE, SENSITIVITIES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes

    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

ROW = 0.2
"""Inches of a row."""
MARGIN = 0.03
"""Left of 0, of an axis."""
LOSS = "loss"


def copying_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Attention that x tokens pay the token of their own label, by the head of the first layer that pays most; the
    sensitivity of tokens after the first layer to the tokens before it; and the loss of the model, of rules, and of the
    model with its first layer edited: without what x tokens read of their labels, without all other reading of labels,
    and without attention. Bars are 95 % intervals, grey marks nulls.
    """
    measures = marks.last_step(findings.measures)
    if not marks.has_number(measures["first_layer_score"]):
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
    sensitivities, losses = measures["copy_sensitivity"], measures["loss"]
    return {
        "attention to labels": {SCORE: measures["first_layer_score"]},
        "sensitivity": {look: sensitivities.sel(**{TO: kind}) for kind, look in SENSITIVITIES.items()},
        LOSS: {look: losses.sel(**{CANDIDATE: name}) for name, look in LOSSES.items()},
    }


def _plot(entries: Curves, ax: Axes, title: str, nulls: Sequence[str]) -> pd.DataFrame:
    table = marks.rows(list(entries.items()), ax, panel=title, nulls=nulls)
    ax.set(title=title, xlabel=next(iter(entries.values())).unit)
    if title == LOSS:
        scales.log_scale(ax, "x")
    else:
        ax.set_xlim(left=-MARGIN * ax.get_xlim()[1])  # marks at 0 are whole
    return table
