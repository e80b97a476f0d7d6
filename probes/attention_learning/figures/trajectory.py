"""Figures over training: what is known of single words, where attention goes and what is answered, and agreements."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D

from ...drawing import marks, panels
from ..names import ATTENTION, BETA, HALF, QUANTITY
from .looks import AGREEMENT, PUSH, QUANTITIES, pairs, quantities, with_number

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

ALL = "accuracy"
FIRST = "first checkpoint at 1/2 or above"
_FIRST: dict[str, Any] = {"ls": "", "marker": "*", "zorder": 3}
_SIZES = (8.5, 6, 4)  # of marks at the same step


def trajectory_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Over training: the share of sources that the model would translate right from this source alone (KTIW), of
    targets whose largest attention is on the right source, and of targets that the model answers right. Of a language
    model, of which the last alone is known, also how often β is among the 5 % largest at the source with the largest
    attention. Dotted: one half. Bands are 95 % intervals, thin lines single seeds. Grey, or hatched: chance, and β
    dealt out to the sources anew or that of another target.
    """
    found = {name: measure for name, measure in quantities(findings.measures).items() if measure.axes == ("step",)}
    if not found:
        return None
    curves = {QUANTITIES[name]: measure for name, measure in found.items()}
    drawn = {ALL: {look: replace(measure, points=None) for look, measure in curves.items()}}
    drawn |= {f"{look.label}, seed by seed": {look: held} for look, held in curves.items() if held.points is not None}
    if ATTENTION not in found:
        drawn |= {label: {AGREEMENT: part} for label, part in _agreements(findings).items() if label == BETA.label}
    made = _shares(drawn)
    first = findings.measures.get("first_crossing")
    if first is None or not first.has_number:
        return panels.panels_figure(made, page, columns=2)
    made[ALL] = replace(made[ALL], draw=partial(_with_crossings, made[ALL].draw, first))
    return panels.panels_figure(made, page, [_crossing_key(first)], columns=2)


def trajectory_agreement_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Agreements over training: how often the second number of a pair is among the 5 % largest at the source where the
    first is largest. β: how far this source alone would answer right; the twin was trained with uniform attention.
    Push: what gradient descent would do to attention, beside the change of attention up to the next checkpoint. Bands
    are 95 % intervals, thin lines single seeds. Grey: the second number dealt out to the sources anew, or that of
    another target.
    """
    drawn = {label: {AGREEMENT: part} for label, part in _agreements(findings).items()}
    return panels.panels_figure(_shares(drawn), page, columns=2 if len(drawn) == 4 else 3)


def _agreements(findings: Findings) -> dict[str, Measure]:
    """Over steps, by title, those that have a number."""
    found = pairs(findings.measures.get("agreement"))
    if (push := findings.measures.get("agreement_push")) is not None:
        found[PUSH] = push
    return {label: part for label, part in with_number(found).items() if part.axes == ("step",)}


def _shares(drawn: Mapping[str, panels.Curves]) -> dict[str, panels.Panel]:
    """Panels from 0 to a fifth at least, and to 1 at most, whatever t-intervals do."""
    made = panels.curves_panels(drawn)
    return {title: replace(panel, draw=partial(_up_to_1, panel.draw)) for title, panel in made.items()}


def _up_to_1(draw: panels.Draw, ax: Axes, panel: str) -> pd.DataFrame:
    table = draw(ax=ax, panel=panel)
    top = np.clip(ax.get_ylim()[1], 0.2, 1.05)
    ax.set_ylim(-0.05 * top, top)
    return table


def _with_crossings(draw: panels.Draw, first: Measure, ax: Axes, panel: str) -> pd.DataFrame:
    """The accuracies, and when each of them passes one half."""
    ax.axhline(HALF, **marks.REFERENCE)
    tables = [draw(ax=ax, panel=panel)]
    for (name, look), size in zip(QUANTITIES.items(), _SIZES, strict=True):
        step = first.sel(**{QUANTITY: name}).estimate
        if np.isfinite(step):
            ax.plot([step], [HALF], color=look.color, ms=size, **_FIRST)
            place = {"panel": panel, "series": look.label, "kind": "mark", "at": step, "value": HALF, "message": FIRST}
            tables.append(marks.frame([place]))
    return marks.together(tables)


def _crossing_key(first: Measure) -> Artist:
    label = f"{FIRST}, median of {first.n} seeds" if first.n > 1 else FIRST
    return Line2D([], [], color=marks.BLACK, ms=_SIZES[1], label=label, **_FIRST)
