"""The battery over training, for several checkpoints of one recipe."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ...drawing import panels, scales
from ..names import SHIFT, SHIFTS
from .looks import curves

if TYPE_CHECKING:
    from collections.abc import Mapping

    import pandas as pd
    from matplotlib.axes import Axes

    from ...drawing.marks import Look
    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

ENDS = (1e-3, 3.0)


def trajectory_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Over training: the share of the variance of the model's answers that each rule leaves unexplained, at the
    strength of each shift where it is furthest. Rules are fitted again at every step. Shares below 0.001 or above 3 are
    not drawn; up to 0.01 the model follows the rule. Bands are 95 % intervals, thin lines single seeds.
    """
    found = curves(findings.measures.get("worst_unexplained"))
    over = {look: measure for look, measure in found.items() if measure.axes[:1] == ("step",) and measure.has_number}
    if not over:
        return None
    drawn = {}
    for shift in SHIFTS:
        held = {look: measure.sel(**{SHIFT: shift.name}) for look, measure in over.items()}
        held = {look: measure for look, measure in held.items() if np.isfinite(measure.values).any()}
        if held:
            drawn[shift.title] = panels.Panel(partial(_plot, held), "share", tuple(held), tuple(held.values()))
    return panels.panels_figure(drawn, page)


def _plot(held: Mapping[Look, Measure], ax: Axes, panel: str) -> pd.DataFrame:
    table = panels.curves(held, ax, panel)
    ax.set_ylim(*ENDS)
    scales.log_scale(ax, "y")
    return table
