"""The figure of gd-alignment over training: the paper's Figure 2, for several checkpoints of one recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ...comparing.by_candidate import MODEL
from ...drawing import marks, panels, scales
from ...drawing.marks import Look
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


def plot_trajectory(metric: str, measures: Mapping[str, Measure], ax: Axes, panel: str) -> pd.DataFrame:
    """One metric of the model and of each constructed one at every step of training."""
    found = {series: measure for series, measure in _series(metric, measures).items() if marks.has_number(measure)}
    if not found:
        return marks.write_words(ax, _reason(metric, measures), panel)
    low, high = _range(found)
    shown = {look: _below(measure, high) if look == INTERPOLATED else measure for look, measure in found.items()}
    table = panels.curves(shown, ax, panel)
    if metric == "cosine":
        scales.cosine_scale(ax, "y")
    else:
        ax.set_ylim(low if metric == "loss" else 0, high)
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
    shown = {}
    for metric, (title, unit) in PANELS.items():
        numbers = {look: held for look, held in _series(metric, measures).items() if marks.has_number(held)}
        draw = partial(plot_trajectory, metric, measures)
        shown[title] = panels.Panel(draw, unit, tuple(numbers), tuple(numbers.values()))
    return panels.panels_figure(shown, page)
