"""The contest over training, for several checkpoints of one recipe."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ...comparing.by_candidate import MODEL
from ...drawing import panels
from ...drawing.marks import BLUE, GREEN, ORANGE, PURPLE, SKY, Look
from .looks import look, rules

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

CURVES = (
    Look("", BLUE, "s", "--"),
    Look("", GREEN, "D", "-."),
    Look("", PURPLE, "^", ":"),
    Look("", ORANGE, "v", (0, (1, 1))),
    Look("", SKY, "X", (0, (4, 2))),
)
"""Of the rules that come closest at any step. Those of one kind, which have one colour elsewhere, are told apart."""
HIGHEST = 1.5


def trajectory_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Over training: what the rules that come closest at some step leave unexplained of the model's predictions, each
    fitted again at every step, and the losses of the model and of these rules. Bands are 95 % intervals, thin lines
    single seeds. Shares above 1.5 are not drawn.
    """
    shares = {name: part for name, part in rules(findings.measures.get("unexplained_share")).items() if _over(part)}
    if not shares:
        return None
    nearest = sorted(shares, key=lambda name: float(np.nanmin(shares[name].values)))[: len(CURVES)]
    losses = rules(findings.measures.get("loss"))
    curves = zip(nearest, CURVES, strict=False)
    drawn = {name: replace(curve, label=look(name).label) for name, curve in curves} | {MODEL: look(MODEL)}
    shown = {drawn[name]: shares[name] for name in nearest}
    beside = {drawn[name]: losses[name] for name in drawn if name in losses and _over(losses[name])}
    return panels.panels_figure(
        {
            "unexplained share": _panel(shown, "share of the variation", HIGHEST),
            "loss": _panel(beside, "½ squared label", None),
        },
        page,
    )


def _over(measure: Measure) -> bool:
    return measure.axes == ("step",) and measure.has_number


def _panel(curves: Mapping[Look, Measure], label: str, highest: float | None) -> panels.Panel:
    return panels.Panel(partial(_plot, curves, highest), label, tuple(curves), tuple(curves.values()))


def _plot(curves: Mapping[Look, Measure], highest: float | None, ax: Axes, panel: str) -> pd.DataFrame:
    table = panels.curves(curves, ax, panel)
    ax.set_ylim(0, highest)
    return table
