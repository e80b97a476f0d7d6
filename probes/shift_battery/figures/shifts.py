"""Figures of the battery, a panel for each shift: how answers and losses change with its strength."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from ...drawing import legends, marks, panels, scales
from ..names import LENGTH, SHIFTS, Shift
from .looks import curves

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from ...drawing.marks import Look
    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

RESPONSES = (-1.0, 10.0)
LINEAR = 2.5
LOSSES = (1e-2, 30.0)
"""What is drawn, and the largest response on a linear axis. How far something diverges tells nobody anything."""


def responses_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """The response, the slope of answers on labels, of the model and of rules that were fitted to it on tasks as in
    training (dotted) and then kept as they were, as tasks are shifted: 1 is right. The band is the 95 % interval of the
    model. Responses below -1 or above 10 are not drawn.
    """
    return _figure("response", findings, page)


def losses_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Squared error as a share of that of the zero predictor, of the model and of rules that were fitted to it on tasks
    as in training (dotted) and then kept as they were, as tasks are shifted. The band is the 95 % interval of the
    model. Losses below 0.01 or above 30 are not drawn.
    """
    return _figure("loss", findings, page)


def _figure(metric: str, findings: Findings, page: Page) -> pd.DataFrame | None:
    measures = marks.last_step(findings.measures)
    found = {shift: curves(measures.get(f"{metric}_{shift.name}")) for shift in SHIFTS}
    shown = {shift: _lines(held) for shift, held in found.items() if any(map(marks.has_number, held.values()))}
    drawn = {
        shift.title: panels.Panel(
            partial(_plot, metric, shift, held, _training(shift, held, findings)),
            metric,
            tuple(held),
            tuple(held.values())[-1:],
        )
        for shift, held in shown.items()
    }
    return panels.panels_figure(drawn, page, [legends.reference_key("as in training")])


def _lines(found: Mapping[Look, Measure]) -> dict[Look, Measure]:
    """Those with a number; the model alone keeps its interval, for a band."""
    held = {look: measure for look, measure in found.items() if marks.has_number(measure)}
    model = list(held)[-1]
    nothing = {look: np.full(measure.values.shape, np.nan) for look, measure in held.items()}
    return {
        look: measure if look == model else replace(measure, interval=(nothing[look], nothing[look]))
        for look, measure in held.items()
    }


def _training(shift: Shift, found: Mapping[Look, Measure], findings: Findings) -> float:
    """The strength that changes nothing; of a file that of all its pairs, or of nothing added."""
    recipe = findings.recipes.get("evaluation")
    known = recipe.settings.get("training", {}) if recipe else {}
    if shift.axis in known:
        return float(known[shift.axis])
    labels = next(iter(found.values())).labels(shift.axis)
    return float(labels[-1]) if shift == LENGTH else 1.0 if shift.factor else 0.0


def _plot(
    metric: str, shift: Shift, found: Mapping[Look, Measure], training: float, ax: Axes, panel: str
) -> pd.DataFrame:
    tables = [marks.null_bands(measure, ax, panel, look.label) for look, measure in found.items()]
    tables += [marks.curve(measure, look, ax, panel=panel) for look, measure in found.items()]
    ax.set_xlabel(shift.label)
    _set_strengths(shift, ax, next(iter(found.values())).labels(shift.axis))
    _set_range(metric, found, ax)
    marks.reference(ax, x=training)
    return marks.together(tables)


def _set_range(metric: str, found: Mapping[Look, Measure], ax: Axes) -> None:
    """Linear for responses that are near 0 and 1, logarithmic otherwise."""
    values = np.concatenate([measure.values[np.isfinite(measure.values)] for measure in found.values()])
    if metric == "loss":
        ax.set_ylim(np.clip(values.min() / 2, LOSSES[0], 0.5), min(2 * max(values.max(), 1.0), LOSSES[1]))
        scales.log_scale(ax, "y")
        return
    low, high = max(min(values.min(), 0.0), RESPONSES[0]), min(max(values.max(), 1.0), RESPONSES[1])
    room = 0.1 * (high - low)
    ax.set_ylim(low - room, high + room)
    if high > LINEAR or low < -1:
        scales.signed_log_scale(ax, "y")


def _set_strengths(shift: Shift, ax: Axes, strengths: tuple[float, ...]) -> None:
    """Ticks at the strengths of factors, which are few."""
    if not shift.factor:
        ax.xaxis.set_major_locator(MaxNLocator(5))
        return
    ax.set_xscale("log")
    ax.xaxis.set_major_locator(FixedLocator(list(strengths)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".removeprefix("0") or "0"))
    ax.xaxis.set_minor_locator(NullLocator())
