"""The figure of rules and shifts: what each frozen rule leaves unexplained."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.colors import LogNorm

from ...comparing.by_candidate import CANDIDATE
from ...drawing import marks
from ..names import LABELS, SHIFT, SHIFTS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

PANEL = "rules and shifts"
ENDS = (1e-3, 1.0)
"""Of the colours: less is next to nothing, more explains nothing."""
TICKS = (0.001, 0.01, 0.1, 1.0)
ROW, MARGIN = 0.2, 1.35
"""Inches of a row, and of titles, names of shifts and the colour bar."""
MOST = 9.5


def unexplained_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """The share of the variance of the model's answers that each rule leaves unexplained, at the strength of each shift
    where it is furthest from the model. Rules were fitted to the model on tasks as in training and then kept as they
    were. Up to .01 the model follows the rule. Empty: infinite, or a shift that these tasks cannot be given.
    """
    shares = marks.last_step(findings.measures).get("worst_unexplained")
    if shares is None or not shares.has_number or SHIFT not in shares.axes:
        return None
    page.chosen({PANEL: None})
    rules = [name for name in LABELS if name in shares.labels(CANDIDATE)]
    (ax,) = page.grid(1, 1, MARGIN + ROW * len(rules), width=min(page.style.page, 4.5))
    return _plot(shares, rules, ax)


def _plot(shares: Measure, rules: list[str], ax: Axes) -> pd.DataFrame:
    import seaborn  # takes a second to import

    parts = {(rule, shift): shares.sel(**{CANDIDATE: rule, SHIFT: shift.name}) for rule in rules for shift in SHIFTS}
    columns = [shift for shift in SHIFTS if any(marks.has_number(parts[rule, shift]) for rule in rules)]
    values = [[parts[rule, shift].estimate for shift in columns] for rule in rules]
    matrix = pd.DataFrame(values, [LABELS[rule] for rule in rules], [shift.title for shift in columns])
    seaborn.heatmap(
        matrix.clip(*ENDS), ax=ax, annot=matrix.map(_in_words), fmt="", cmap="cividis_r", norm=LogNorm(*ENDS),
        linewidths=0.5, annot_kws={"fontsize": 6.5},
        cbar_kws={"label": "share of the variance", "extend": "both", "ticks": TICKS, "format": "%g"},
    )  # fmt: skip
    bar = ax.collections[0].colorbar
    assert bar is not None
    bar.ax.minorticks_off()
    ax.set(xlabel="", ylabel="")
    ax.tick_params(length=0)
    ax.set_xticks(np.arange(len(columns)) + 0.5, matrix.columns, rotation=90)
    ax.set_yticks(np.arange(len(rules)) + 0.5, matrix.index, rotation=0)
    words = marks.nulls_elsewhere(shares, PANEL)
    cells = marks.frame(_row(rule, shift.title, parts[rule, shift]) for rule in rules for shift in columns)
    return marks.together([cells, words])


def _in_words(share: float) -> str:
    if np.isnan(share):
        return ""
    if share >= MOST:
        return ">9"
    return f"{share:.3f}".removeprefix("0") if share < 0.1 else f"{share:.2f}".removeprefix("0")


def _row(rule: str, shift: str, share: Measure) -> dict[str, object]:
    low, high = (float(bound) for bound in share.interval)
    return {
        "panel": PANEL, "series": LABELS[rule], "at": shift, "kind": "estimate", "value": share.estimate,
        "low": low, "high": high, "replicate": share.replicate, "n": share.n,
    }  # fmt: skip
