"""The figure of plateaus: the loss over training, and the levels of one that learns one direction after another."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from ...drawing import legends, marks, panels, scales
from ...drawing.marks import SKY, VERMILION, Look
from ..names import FIRST, LAST

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

MODEL = Look("model", VERMILION, "o", "-")
_PLATEAU = {"color": SKY, "lw": 3.0, "solid_capstyle": "butt"}


def plot_plateaus(measures: Mapping[str, Measure], ax: Axes, panel: str) -> pd.DataFrame:
    """Twice the expected loss of every seed over the logarithm of steps; its plateaus; and the levels."""
    losses, levels = measures["expected_loss"], measures["level_loss"].at(step=-1).values
    at = np.array(losses.labels("step"), dtype=np.float64)
    records = [{"panel": panel, "series": "level", "kind": "reference", "value": level} for level in levels]
    for level in levels:
        ax.axhline(level, zorder=1, **marks.REFERENCE)
    for number, curve in enumerate(_each(losses)):
        ax.plot(at, 2 * curve, color=MODEL.color, lw=1.0 if losses.points is None else 0.6)
        series = f"seed {number + 1}" if losses.points is not None else MODEL.label
        records += [
            {"panel": panel, "series": series, "kind": "replicate", "at": a, "value": value, "n": 1}
            for a, value in zip(at, 2 * curve, strict=True)
        ]
        rests = zip(*(_each(measures[name])[number] for name in ("plateau_loss", "plateau_steps")), strict=True)
        for loss, (first, last) in rests:
            if np.isfinite(loss):
                ax.plot([first, last], [loss, loss], zorder=1.5, **_PLATEAU)
                records.append(
                    {"panel": panel, "series": series, "kind": "interval", "value": loss, "low": first, "high": last}
                )
    ax.set(xlabel="training step", xlim=(_begin(measures), 1.3 * at[-1]), ylim=(0, None))
    scales.log_scale(ax, "x")
    why = "the levels are a closed form; the other panel has those that are moved"
    return marks.together([marks.frame(records), marks.no_nulls_here(panel, why)])


def _begin(measures: Mapping[str, Measure]) -> float:
    """A decade before the loss first falls: before that there is nothing to see."""
    ends = _each(measures["plateau_steps"])[:, :, 1]
    at = np.array([step for step in measures["expected_loss"].labels("step") if step > 0])
    return max(float(at[0]), float(np.nanmin(ends)) / 10)


def _each(measure: Measure) -> np.ndarray:
    """The numbers of every seed."""
    return measure.values[None] if measure.points is None else measure.points


def plateaus_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Where training rests. Left: the expected squared error over steps, its plateaus, and the levels of a training
    that learns one direction after another (dotted). Right: over how many decades of steps it is near each level, with
    m directions learned; in grey the same of levels that are moved by half a gap. Bands: 95 % intervals.
    """
    measures = findings.measures
    rests = measures.get("plateau_steps")
    if rests is None or not marks.has_number(rests):
        return None
    drawn = {
        "expected loss": panels.Panel(partial(plot_plateaus, measures), measures["level_loss"].unit),
        **panels.curves_panels({"time near a level": {MODEL: measures["level_decades"]}}, ["time near a level"]),
    }
    keys = [
        Line2D([], [], label=f"plateau ({FIRST} to {LAST} step)", **_PLATEAU),
        legends.reference_key("level of the closed form"),
    ]
    return panels.panels_figure(drawn, page, keys, columns=2)
