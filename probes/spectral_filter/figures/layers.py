"""The figure of the filter over layers, of models with several."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.ticker import MaxNLocator

from ...algorithms.filtered import GRADIENT_DESCENT
from ...comparing.by_candidate import CANDIDATE
from ...drawing import marks, panels
from ...drawing.marks import ORANGE, PURPLE, Look
from ..names import EFFECTIVE, EXACT, KIND, LAYER
from .looks import LOOKS, MODEL, measured

if TYPE_CHECKING:
    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

COUNTED = ("steps", "degree")
DEGREES = {EFFECTIVE: Look("effective degree", ORANGE, "v", (0, (1, 1))), EXACT: Look("exact degree", PURPLE, "^", ":")}


def layers_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """By layer: the share of E|W|² that no filter explains; the steps of gradient descent that the filter is closest to
    (bars reach from the fewest to the most that are as close) and their number times the learning rate, which is all
    that is known of many small steps; the degree of the filter as a polynomial in Xᵀ X, within 1 % of E|W|² and
    exactly; and ridge's penalty, over N times the mean eigenvalue. Grey: untrained models.
    """
    measures = marks.last_step(findings.measures)
    if not measured(measures) or len(measures["off_filter_share"].values) < 2:
        return None
    descent = LOOKS[GRADIENT_DESCENT.name]
    degrees = {look: measures["polynomial_degree"].sel(**{KIND: kind}) for kind, look in DEGREES.items()}
    drawn = {
        "no filter": {MODEL: measures["off_filter_share"]},
        "steps": {descent: measures["steps"].sel(**{CANDIDATE: GRADIENT_DESCENT.name})},
        "steps × learning rate": {descent: measures["gradient_time"]},
        "degree": {look: degree for look, degree in degrees.items() if degree.has_number},
        "penalty": {LOOKS["ridge"]: measures["relative_penalty"]},
    }
    shown = {title: {look: _from_one(held) for look, held in found.items()} for title, found in drawn.items()}
    table = panels.curves_figure(shown, page)
    for ax in page.figure.axes:
        if ax.get_title() in COUNTED:
            ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    return table


def _from_one(measure: Measure) -> Measure:
    """Layers counted as in sentences."""
    return replace(measure, coords={LAYER: tuple(range(1, len(measure.values) + 1))})
