"""The figure of the rules beside each other: what these tasks can separate."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ...comparing.by_candidate import CANDIDATE, OTHER_CANDIDATE
from ...drawing import marks
from .looks import THE_MODEL, by_distance, counted, rules

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from matplotlib.axes import Axes

    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

PANEL = "rules"
LEAST_CELL, LEAST_ROW = 0.25, 0.135
"""Inches that a cell takes with its number in it, and beside a name."""
MARGIN = 1.6
"""Inches of names and of the colour bar."""
TOO_LONG = 9.5
MOST = 1.0
"""Distances from here on have one colour: the two share next to nothing."""


def rules_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """How far the predictions of each rule, at the settings that fit the model best, are from those of each other, and
    from the model's, as a share of the variation of the model's. Near 0 these tasks do not separate the two. Rules are
    sorted as in the contest; on a narrow page those that are furthest from the model are left out.
    """
    measures = marks.last_step(findings.measures)
    shown = by_distance(measures)
    distances = measures.get("candidate_distance")
    if not shown or distances is None or not distances.has_number:
        return None
    page.chosen({PANEL: None})
    shown = shown[: int((page.style.page - MARGIN) / LEAST_ROW) - 1]
    side = min(page.style.page, 0.33 * (len(shown) + 1) + MARGIN)
    (ax,) = page.grid(1, 1, side - 0.5, width=side, square=True)  # the colour bar takes room beside it, not below
    return _plot_matrix(measures, shown, distances, ax, (side - MARGIN) / (len(shown) + 1))


def _plot_matrix(
    measures: Mapping[str, Measure], shown: Sequence[str], distances: Measure, ax: Axes, cell: float
) -> pd.DataFrame:
    import seaborn  # takes a second to import

    cells = _cells(measures, shown, distances)
    labels = [THE_MODEL.label, *(counted(name, measures).label for name in shown)]
    pairs = {(found["series"], found["at"]): found["value"] for found in cells}
    matrix = pd.DataFrame([[pairs[row, column] for column in labels] for row in labels], labels, labels)
    text = matrix.map(_in_words)
    seaborn.heatmap(
        matrix, ax=ax, annot=text if cell >= LEAST_CELL else None, fmt="", cmap="cividis_r", square=True,
        linewidths=0.5, vmin=0, vmax=MOST, annot_kws={"fontsize": 6},
        cbar_kws={"label": "share of the variation", "shrink": 0.6, "extend": "max"},
    )  # fmt: skip
    ax.set(xlabel="", ylabel="")
    ax.tick_params(length=0)
    ax.set_xticks(np.arange(len(labels)) + 0.5, labels, rotation=90)
    ax.set_yticks(np.arange(len(labels)) + 0.5, labels, rotation=0)
    words = [{"kind": "words", "message": distances.no_nulls}]
    return marks.frame([{"panel": PANEL} | found for found in [*cells, *words]])


def _in_words(share: float) -> str:
    if np.isnan(share):
        return ""
    return f"{share:.2f}".removeprefix("0") if share < TOO_LONG else ">9"


def _cells(measures: Mapping[str, Measure], shown: Sequence[str], distances: Measure) -> list[dict[str, object]]:
    """Every pair as a row of the table, the model with each rule first."""
    shares = rules(measures["unexplained_share"])
    cells = [{"series": THE_MODEL.label, "at": THE_MODEL.label, "kind": "estimate", "value": 0.0}]
    for name in shown:
        label = counted(name, measures).label
        pair = _numbers(shares[name])
        cells += [{"series": THE_MODEL.label, "at": label, **pair}, {"series": label, "at": THE_MODEL.label, **pair}]
        for other in shown:
            found = _numbers(distances.sel(**{CANDIDATE: name, OTHER_CANDIDATE: other}))
            cells.append({"series": label, "at": counted(other, measures).label, **found})
    return cells


def _numbers(measure: Measure) -> dict[str, object]:
    low, high = (float(bound) for bound in measure.interval)
    return {
        "kind": "estimate", "value": float(measure.values), "low": low, "high": high,
        "replicate": measure.replicate, "n": measure.n,
    }  # fmt: skip
