"""The figure of gd-alignment over training: the paper's Figure 2, for several checkpoints of one recipe."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ...drawing import marks, panels
from ...drawing.marks import Look
from ..names import MODEL
from ..weight_comparison import CONTROLS
from .looks import CONSTRUCTED, INTERPOLATED, TRAINED, at

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

PANELS = {
    "loss": ("loss", "½ squared label"),
    "cosine": ("sensitivity", "cosine"),
    "model_difference": ("model difference", "label / input"),
    "prediction_difference": ("prediction difference", "label"),
    "weight_distance": ("weight distance", "relative to constructed"),
}
"""Metrics over training: title, and label of the y axis."""
_LETTERS = 25  # of a line in the legend, which stands in the place of a panel


def plot_trajectory(panel: str, measures: Mapping[str, Measure], ax: Axes) -> pd.DataFrame:
    """One metric of the model and of each constructed one at every step of training."""
    found = {series: measure for series, measure in _series(panel, measures).items() if marks.has_number(measure)}
    if not found:
        return marks.write_words(ax, _reason(panel, measures), panel)
    low, high = _range(found)
    shown = {look: _below(measure, high) if look == INTERPOLATED else measure for look, measure in found.items()}
    table = panels.curves(shown, ax, panel.replace("_", " "))
    if panel == "cosine":
        marks.cosine_scale(ax, "y")
    else:
        ax.set_ylim(low if panel == "loss" else 0, high)
    title, unit = PANELS[panel]
    ax.set(title=title, ylabel=unit)
    return table


def _series(panel: str, measures: Mapping[str, Measure]) -> dict[Look, Measure]:
    control = {"control": CONTROLS[0]} if panel == "weight_distance" else {}
    series = {look: at(measures, panel, candidate=name, **control) for name, look in CONSTRUCTED.items()}
    if panel == "loss":
        model = at(measures, "loss", candidate=MODEL)
        series = {TRAINED: model, **series, INTERPOLATED: measures.get("loss_interpolated")}
    return {look: measure for look, measure in series.items() if measure is not None and _over_steps(measure)}


def _over_steps(measure: Measure) -> bool:
    return measure.axes == ("step",)


def _reason(panel: str, measures: Mapping[str, Measure]) -> str:
    messages = [found.message for name in CONSTRUCTED if (found := at(measures, panel, candidate=name)) is not None]
    return next(filter(None, messages), "not measured")


def _range(found: Mapping[Look, Measure]) -> tuple[float, float]:
    """The range of all but the interpolated model, whose loss passes any bound before the alignment settles."""
    values = [m.values for look, m in found.items() if look != INTERPOLATED] or [m.values for m in found.values()]
    nulls = [samples.ravel() for look, m in found.items() if look != INTERPOLATED for samples in m.nulls.values()]
    low, high = (bound(np.concatenate([*values, *nulls])) for bound in (np.nanmin, np.nanmax))
    room = 0.1 * (high - low) or 0.1 * abs(high) or 1.0
    return low - room, high + room


def _below(measure: Measure, high: float) -> Measure:
    """The measure without the steps at which it leaves the panel."""
    gone = ~(measure.values < high)
    values, *bounds = (np.where(gone, np.nan, array) for array in (measure.values, *measure.interval))
    points = None if measure.points is None else np.where(gone, np.nan, measure.points)
    message = measure.message or "not drawn where it leaves the panel"
    return replace(measure, values=values, interval=(bounds[0], bounds[1]), points=points, message=message)


def trajectory_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Over training: loss of the model, of the constructed ones and of the model half way between trained and
    constructed weights; sensitivity cosine, differences and weight distance to each constructed model. Bands are 95 %
    intervals, thin lines single seeds.
    """
    measures = findings.measures
    if not any("step" in measure.axes for measure in measures.values()):
        return None
    axes = page.grid(2, 3, 3.5)
    tables = [plot_trajectory(panel, measures, ax) for panel, ax in zip(PANELS, axes, strict=False)]
    drawn = [item for panel in PANELS for item in _series(panel, measures).items() if marks.has_number(item[1])]
    axes[-1].set_axis_off()
    handles = panels.keys(dict(drawn), [measure for _, measure in drawn])
    for handle in handles:
        handle.set_label(textwrap.fill(str(handle.get_label()), _LETTERS))
    axes[-1].legend(handles=handles, loc="center left", bbox_to_anchor=(-0.15, 0.5))
    return marks.together(tables)
