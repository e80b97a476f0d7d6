"""The figure of what named filters leave unexplained, layer by layer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ...comparing.verdicts import AGREES
from ...drawing import legends, marks, scales
from ..names import RULES
from .looks import BEST, at_layer, counted, layers_of, measured, not_all, rules_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ...drawing.marks import Look
    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

LEAST, MOST = 1e-5, 1.0
"""Shares are drawn between these."""
ROW = 0.17
"""Inches of a row."""


def rules_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """How much of each layer's weights W, as a share of E|W|², the best filter and each named filter leave unexplained,
    fitted to other tasks. In brackets: numbers of steps. Dotted: up to there a layer is a filter. Bars are 95 %
    intervals. Grey: untrained models. Shares below 0.00001 and above 1 are drawn at these ends.
    """
    measures = marks.last_step(findings.measures)
    if not measured(measures):
        return None
    panels = page.chosen({title: _rows(measures, layer) for title, layer in layers_of(measures).items()})
    axes = page.grid(len(panels), 2, 0.75 + ROW * (len(RULES) + 1), least=2.4)
    tables = [_plot(entries, ax, title) for (title, entries), ax in zip(panels.items(), axes, strict=True)]
    page.legend(legends.keys(measure for entries in panels.values() for measure in entries.values()))
    page.heading(not_all(measures))
    return marks.together(tables)


def _rows(measures: Mapping[str, Measure], layer: int) -> dict[Look, Measure]:
    parts = rules_of(measures["unexplained_share"], layer)
    named = {counted(name, measures["steps"], layer): part for name, part in parts.items()}
    return {BEST: at_layer(measures["off_filter_share"], layer)} | named


def _plot(entries: Mapping[Look, Measure], ax: Axes, panel: str) -> pd.DataFrame:
    table = marks.rows([(look, _within(measure)) for look, measure in entries.items()], ax, panel=panel)
    ax.set_xlim(0.6 * LEAST, 1.6 * MOST)
    scales.log_scale(ax, "x")
    marks.reference(ax, x=AGREES)
    ax.set(title=panel, xlabel="unexplained share of E|W|²")
    return table


def _within(measure: Measure) -> Measure:
    """With all numbers between the ends of the axis."""

    def clip(values: np.ndarray) -> np.ndarray:
        return np.asarray(np.clip(values, LEAST, MOST))

    low, high = measure.interval
    return replace(
        measure,
        values=clip(measure.values),
        interval=(clip(low), clip(high)),
        nulls={name: clip(samples) for name, samples in measure.nulls.items()},
        points=None if measure.points is None else clip(measure.points),
    )
