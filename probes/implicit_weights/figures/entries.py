"""The figure of single weights: the model's beside those of the rule that is named."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Float

from ...drawing import legends, marks
from ...drawing.marks import BLUE, GREEN, VERMILION, Look
from ..names import BY_NAME, spread
from ..standing import Standing, steps_title
from .looks import layer_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ...drawing.page import Page
    from ...findings import Findings

OF_MODEL = "weights_model"
MOST_PANELS = 4
TASKS = (Look("task 1", VERMILION, "o", ""), Look("task 2", BLUE, "s", ""), Look("task 3", GREEN, "D", ""))
Weights = Float[np.ndarray, "task layer d_out d_in"]


def weights_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Entries of the linear model W that the model holds after a layer, beside those of the rule that is named there,
    on some tasks that nothing was fitted on. Dotted: where both are the same.
    """
    measures = marks.last_step(findings.measures)
    if OF_MODEL not in findings.arrays:
        return None
    held = Standing(measures)
    named = [one for one in held.layers if one.rule]
    chosen = {layer_name(one.label): one for one in (named[at] for at in spread(len(named), MOST_PANELS))}
    if not chosen:
        return None
    arrays = {name: _first_seed(findings.arrays[name]) for name in (OF_MODEL, *(f"weights_{rule}" for rule in BY_NAME))}
    shown = page.chosen(chosen)
    axes = page.grid(len(shown), 2, 1.9, least=1.45)
    tables = [
        _plot(
            arrays[OF_MODEL][:, one.place], arrays[f"weights_{one.rule}"][:, one.place], steps_title([one]), ax, title
        )
        for (title, one), ax in zip(shown.items(), axes, strict=True)
    ]
    page.legend([legends.line_key(look) for look in TASKS[: len(arrays[OF_MODEL])]])
    n_seeds = len(findings.arrays[OF_MODEL]) if findings.arrays[OF_MODEL].ndim == 5 else 1
    page.heading(f"the first of {n_seeds} seeds" if n_seeds > 1 else "")
    return marks.together(tables)


def _first_seed(array: np.ndarray) -> Weights:
    return array if array.ndim == 4 else array[0]


def _plot(
    model: Float[np.ndarray, "task d_out d_in"],
    rule: Float[np.ndarray, "few d_out d_in"],
    title: str,
    ax: Axes,
    panel: str,
) -> pd.DataFrame:
    records = []
    for look, own, other in zip(TASKS, model, rule, strict=False):
        ax.plot(other.ravel(), own.ravel(), ls="", marker=look.marker, color=look.color, ms=3)
        records += [
            {"panel": panel, "series": look.label, "kind": "estimate", "at": x, "value": y}
            for x, y in zip(other.ravel(), own.ravel(), strict=True)
        ]
    ax.axline((0, 0), slope=1, zorder=1, **marks.REFERENCE)
    ax.set(title=panel, xlabel=title, ylabel="model")
    return marks.together([marks.frame(records), marks.no_nulls_here(panel, "these are single weights")])
