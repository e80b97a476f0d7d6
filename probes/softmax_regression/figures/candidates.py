"""Figures of behaviour: the model beside every candidate, and its loss against its cosine to one gradient step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ...comparing.by_candidate import MODEL
from ...drawing import legends, marks, scales
from ...measure import Measure
from .looks import CANDIDATE_LOOKS, TRAINED, by_candidate, off_the_axis

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ...drawing.page import Page
    from ...findings import Findings

PANELS = {
    "unexplained_share": ("unexplained", "share of the variation"),
    "loss": ("loss", "½ squared probability"),
    "cosine": ("sensitivity", "cosine"),
}
"""What the model is compared by: title, and label of the axis."""
LEAST = 1e-4
"""Of the model's loss, or of the variation: what is less lies beyond the axis."""


def plot_candidates(
    metric: str, measures: Mapping[str, Measure], names: Sequence[str], ax: Axes, panel: str
) -> pd.DataFrame:
    """One metric of the model, where it has one, and of each candidate, one a row."""
    found = by_candidate(measures, metric)
    beyond = _beyond(metric, found)
    looks = {MODEL: TRAINED, **CANDIDATE_LOOKS}
    entries = [(looks[name], None if name in beyond else found.get(name)) for name in names]
    table = marks.rows(entries, ax, panel=panel)
    if metric != "cosine" and _positive([one for _, one in entries if marks.has_number(one)]):
        scales.log_scale(ax, "x")
    ax.set(title=panel, xlabel=PANELS[metric][1])
    return marks.together([table, *(_at_the_end(name, beyond[name], ax, panel, names.index(name)) for name in beyond)])


def _beyond(metric: str, found: Mapping[str, Measure]) -> dict[str, Measure]:
    """Candidates whose loss, or share, is next to nothing."""
    if metric == "cosine":
        return {}
    whole = found[MODEL].estimate if metric == "loss" else 1.0
    return {name: one for name, one in found.items() if one.estimate < LEAST * whole}


def _positive(held: Sequence[Measure | None]) -> bool:
    return bool(held) and all(one is not None and one.estimate > 0 for one in held)


def _at_the_end(name: str, held: Measure, ax: Axes, panel: str, row: int) -> pd.DataFrame:
    off_the_axis(ax, row, f"$10^{{{np.log10(held.estimate):.0f}}}$" if held.estimate else "0", right=False)
    label, (low, high) = CANDIDATE_LOOKS[name].label, (float(bound) for bound in held.interval)
    return marks.frame([
        {
            "panel": panel, "series": label, "kind": "beyond the axis", "at": label, "value": held.estimate,
            "low": low, "high": high, "replicate": held.replicate, "n": held.n,
        },
    ])  # fmt: skip


def candidates_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """The model beside every candidate: the share of its predictions that a candidate leaves unexplained, the loss on
    the same tasks, and the cosine of the sensitivities, the derivatives of a prediction with respect to A. What is next
    to nothing lies beyond the axis. Bars are 95 % intervals. Grey marks are untrained layers, and the model on b in
    random order.
    """
    measures = marks.last_step(findings.measures)
    if "loss" not in measures:
        return None
    shares = by_candidate(measures, "unexplained_share")
    names = [MODEL, *sorted(shares, key=lambda name: shares[name].estimate)]
    shown = page.chosen({title: metric for metric, (title, _) in PANELS.items()})
    axes = page.grid(len(shown), 3, 0.5 + 0.17 * len(names), least=1.7, sharey="row")
    tables = [plot_candidates(metric, measures, names, ax, title)
              for (title, metric), ax in zip(shown.items(), axes, strict=True)]  # fmt: skip
    page.legend(legends.keys(held for metric in shown.values() for held in by_candidate(measures, metric).values()))
    return marks.together(tables)
