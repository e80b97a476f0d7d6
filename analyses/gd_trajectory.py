"""The figure of gd-alignment over training: the paper's Figure 2, for several checkpoints of one recipe."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from . import marks
from .gd_look import INTERPOLATED, MODEL, TWINS
from .marks import Look

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..probes.measure import Measure
    from .figures import Page
    from .report import Report

PANELS = {
    "loss": ("loss", "½ squared label"),
    "cosine": ("sensitivity", "cosine"),
    "model_difference": ("model difference", "label / input"),
    "prediction_difference": ("prediction difference", "label"),
    "weight_distance": ("weight distance", "relative to the twin"),
}
"""Metrics over training: title, and label of the y axis."""


def plot_trajectory(panel: str, measures: Mapping[str, Measure], ax: Axes) -> pd.DataFrame:
    """One metric of the model and of each twin at every step of training."""
    found = {series: measure for series, measure in _series(panel, measures).items() if marks.has_number(measure)}
    if not found:
        return marks.say(ax, _reason(panel, measures), panel)
    called = panel.replace("_", " ")
    tables = [_nulls(ax, called, found)]
    low, high = _range(found)
    for look, measure in found.items():
        shown = _below(measure, high) if look == INTERPOLATED else measure
        tables.append(marks.curve(shown, look, ax, panel=called))
    if panel == "cosine":
        marks.cosine_scale(ax, "y")
    else:
        ax.set_ylim(low if panel == "loss" else 0, high)
    _step_axis(ax, next(iter(found.values())).labels("step"))
    title, unit = PANELS[panel]
    ax.set(title=title, ylabel=unit)
    return marks.together(tables)


def _series(panel: str, measures: Mapping[str, Measure]) -> dict[Look, Measure]:
    names = {f"{panel}_{twin}": look for twin, look in TWINS.items()}
    if panel == "loss":
        names = {"loss_model": MODEL, **names, "loss_interpolated": INTERPOLATED}
    return {look: measures[name] for name, look in names.items() if measures.get(name) and _over_steps(measures[name])}


def _over_steps(measure: Measure) -> bool:
    return measure.axes == ("step",)


def _reason(panel: str, measures: Mapping[str, Measure]) -> str:
    messages = [m.message for name, m in measures.items() if name.startswith(f"{panel}_") and m.message]
    return messages[0] if messages else "not measured"


def _nulls(ax: Axes, panel: str, found: Mapping[Look, Measure]) -> pd.DataFrame:
    """The 95 % range of each null of the first twin, a grey band over all steps."""
    look, measure = next(iter(found.items()))
    records = []
    for name, null in marks.null_looks(measure).items():
        samples = measure.nulls[name]
        held = np.atleast_1d(np.isfinite(samples).any(axis=0))
        low, high = np.nanpercentile(samples[:, held], (2.5, 97.5), axis=0)
        mean = np.nanmean(samples[:, held], axis=0)
        steps = [step for step, some in zip(measure.labels("step"), held, strict=True) if some]
        ax.fill_between(steps, low, high, color=null.color, alpha=0.35, lw=0)
        ax.plot(steps, mean, color=null.color, lw=0.7)
        records += [
            {
                "panel": panel, "series": look.label, "kind": f"null: {name}", "at": at, "value": m, "low": lo,
                "high": hi, "replicate": "null", "n": len(measure.nulls[name]),
            }
            for at, m, lo, hi in zip(steps, mean, low, high, strict=True)
        ]  # fmt: skip
    return marks.frame(records)


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


def _step_axis(ax: Axes, steps: Sequence[float]) -> None:
    """Even steps on a linear axis; steps that grow by factors on a logarithmic one that still holds step 0."""
    ax.set_xlabel("training step")
    gaps = np.diff(steps)
    if len(gaps) < 2 or gaps.max() <= 4 * gaps.min():
        return
    first, last = min(step for step in steps if step > 0), max(steps)
    ax.set_xscale("symlog", linthresh=first)
    decades = [10.0**k for k in range(math.ceil(math.log10(first)), math.floor(math.log10(last)) + 1)]
    ax.set_xticks([0, *decades], ["0", *(marks.plain(d) for d in decades)])
    ax.set_xlim(-0.4 * first if min(steps) == 0 else 0.7 * first, 1.5 * last)


def trajectory_figure(report: Report, page: Page) -> pd.DataFrame | None:
    """Over training: loss of the model, its twins and the model half way between trained and constructed weights;
    sensitivity cosine, differences and weight distance to each twin. Bands: 95 % intervals; thin lines: single seeds.
    """
    measures = {name: measure for name, measure in report.measures.items() if _over_steps(measure)}
    if not measures:
        return None
    axes = page.grid(2, 3, 3.5)
    tables = [plot_trajectory(panel, measures, ax) for panel, ax in zip(PANELS, axes, strict=False)]
    _keys(axes[-1], [_series(panel, measures) for panel in PANELS])
    return marks.together(tables)


def _keys(ax: Axes, drawn: list[dict[Look, Measure]]) -> None:
    """The legend, in a panel of its own."""
    ax.set_axis_off()
    found = [(look, measure) for part in drawn for look, measure in part.items() if marks.has_number(measure)]
    measures = [measure for _, measure in found]
    handles = [marks.line_key(look) for look in dict(found)]
    if bands := marks.evidence(measures):
        handles.append(marks.band_key(bands))
    if replicates := {measure.replicate for measure in measures if measure.points is not None}:
        handles.append(marks.thin_key(f"one {replicates.pop()}"))
    nulls = {name: look for measure in measures for name, look in marks.null_looks(measure).items()}
    handles += [marks.band_key(f"{name}, 95 % range", look.color) for name, look in nulls.items()]
    ax.legend(handles=handles, loc="center left", bbox_to_anchor=(-0.1, 0.5))
