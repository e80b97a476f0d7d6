"""Figures of the two shifts: how long they are for their step, beside the bounds, and how equal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from ...drawing import legends, marks, panels, scales
from ...measure import Measure
from ..names import GD, ZERO
from .looks import (
    CANDIDATE_LOOKS,
    FIRST_ORDER,
    PAPER,
    RATIO,
    SHIFTS,
    TIGHT,
    TRAINED,
    by_candidate,
    off_the_axis,
)

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ...drawing.page import Page
    from ...findings import Findings

COSINE = "cosine of both shifts"
TITLES = {"x": "weight shift: one step on x", "A": "data shift: written into A"}
LEAST_COSINE = -0.5
"""Nulls of few tasks reach below it: an axis for cosines near 1 has no room for them."""
_NAMES = 2.1
"""Inches that a panel takes with the names of its rows."""


def plot_bounds(moved: str, measures: Mapping[str, Measure], ax: Axes, panel: str) -> pd.DataFrame:
    """The length of a shift for that of its step, and what the bounds allow, one a row, on a logarithmic axis."""
    entries = [
        (RATIO, measures[f"shift_ratio_{moved}"]),
        (FIRST_ORDER, measures[f"first_order_bound_{moved}"]),
        (TIGHT, measures[f"bound_{moved}"]),
    ]
    table = marks.rows([*entries, (PAPER, None)], ax, panel=panel)
    if any(marks.has_number(measure) for _, measure in entries):
        scales.log_scale(ax, "x")
    ax.set(title=panel, xlabel=entries[0][1].unit)
    return marks.together([table, _paper(measures[f"log10_paper_bound_{moved}"], ax, panel, len(entries))])


def _paper(log10: Measure, ax: Axes, panel: str, row: int) -> pd.DataFrame:
    """The paper's constant, which no axis of the other three has room for."""
    if not marks.has_number(log10):
        return marks.frame(())
    off_the_axis(ax, row, f"$10^{{{log10.estimate:.0f}}}$")
    label, (low, high) = PAPER.label, (float(bound) for bound in log10.interval)
    return marks.frame([
        {
            "panel": panel, "series": label, "kind": "log10 of the estimate", "at": label, "value": log10.estimate,
            "low": low, "high": high, "replicate": log10.replicate, "n": log10.n,
        },
        {"panel": panel, "series": label, "kind": "words", "message": f"no null: {log10.no_nulls}"},
    ])  # fmt: skip


def plot_cosine(measures: Mapping[str, Measure], ax: Axes, panel: str) -> pd.DataFrame:
    """The cosine of the model's shift and that of the gradient step, and where a candidate is in the model's place."""
    table = marks.rows(_cosines(measures), ax, panel=panel)
    if ax.dataLim.x0 > LEAST_COSINE:
        scales.cosine_scale(ax, "x")
    ax.set(title=panel, xlabel="cosine")
    return table


def _cosines(measures: Mapping[str, Measure]) -> list[tuple[marks.Look, Measure]]:
    others = by_candidate(measures, "candidate_shift_cosine")
    rows = [(CANDIDATE_LOOKS[name], held) for name, held in others.items() if name not in (GD.name, ZERO.name)]
    return [(TRAINED, measures["shift_cosine"]), *rows]


def shifts_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Shifts of the targets, for the length of the step that makes them, beside three bounds: to first order, the tight
    one that holds for every step, and the paper's, which lies beyond the axis. The weight shift is by one gradient step
    on x, the data shift by what the model writes into A; then the cosine of both shifts, and what it is where another
    candidate predicts in the model's place. Bars are 95 % intervals. Grey marks are steps in random directions, and
    untrained layers.
    """
    measures = marks.last_step(findings.measures)
    if "loss" not in measures:
        return None
    drawn = {TITLES[moved]: partial(plot_bounds, moved, measures) for moved in TITLES}
    drawn[COSINE] = partial(plot_cosine, measures)
    shown = page.chosen(drawn)
    heights = [0.5 + 0.17 * (len(_cosines(measures)) if title == COSINE else 5) for title in shown]
    axes = page.grid(len(shown), 3, heights, least=_NAMES)
    tables = [draw(ax=ax, panel=title) for (title, draw), ax in zip(shown.items(), axes, strict=True)]
    page.legend(legends.keys(_drawn(measures, shown)))
    return marks.together(tables)


def _drawn(measures: Mapping[str, Measure], titles: Mapping[str, object]) -> list[Measure]:
    found = [measures[f"shift_ratio_{moved}"] for moved, title in TITLES.items() if title in titles]
    return found + ([measures["shift_cosine"]] if COSINE in titles else [])


# -- over training -----------------------------------------------------------------------------------------------------


def plot_beside(
    found: panels.Curves, others: panels.Curves, ax: Axes, panel: str, nulls: Sequence[str] = ()
) -> pd.DataFrame:
    """Curves over their nulls, and others beside them that have none here, on a logarithmic axis."""
    tables = [panels.curves(found, ax, panel, nulls)]
    for look, measure in others.items():
        words = measure.no_nulls or "measures.csv holds them"
        tables.append(marks.curve(measure, look, ax, panel))
        tables.append(marks.frame([{"panel": panel, "series": look.label, "kind": "words", "message": words}]))
    scales.log_scale(ax, "y")
    return marks.together(tables)


def trajectory_shifts_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Shifts over training: their sizes, their sizes for the length of the step that makes them, beside the bounds, and
    the cosine of both. The weight shift is of one gradient step, whatever the model. Bands are 95 % intervals, thin
    lines single seeds. Grey: steps in random directions, and untrained layers.
    """
    measures = findings.measures
    if "loss" not in measures or "step" not in measures["loss"].axes:
        return None
    data, weight = SHIFTS["A"], SHIFTS["x"]
    order = marks.null_names([measures["shift_A"], measures["shift_x"]])
    drawn = {"sizes": _beside({data: measures["shift_A"]}, {weight: measures["shift_x"]}, order)}
    for moved, look in SHIFTS.items():
        bounds = {FIRST_ORDER: measures[f"first_order_bound_{moved}"], TIGHT: measures[f"bound_{moved}"]}
        drawn[f"{look.label} / step"] = _beside({look: measures[f"shift_ratio_{moved}"]}, bounds, order)
    drawn |= panels.curves_panels({COSINE: {data: measures["shift_cosine"]}})
    return panels.panels_figure(drawn, page, columns=4)


def _beside(found: panels.Curves, others: panels.Curves, order: Sequence[str]) -> panels.Panel:
    (measure,) = found.values()
    draw = partial(plot_beside, found, others, nulls=order)
    return panels.Panel(draw, measure.unit, (*found, *others), tuple(found.values()))
