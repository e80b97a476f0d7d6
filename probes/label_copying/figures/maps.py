"""Maps of the first layer, token by token: whom a token attends to, and what it is sensitive to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ...drawing import head_marks, marks
from ...findings import head_name

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ...drawing.page import Page
    from ...findings import Findings

MOST_HEADS = 5
"""Of the first layer that are drawn."""
SENSITIVITY = "sensitivity"
AXES = ("layer", "head", "token", "key")


def maps_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """The first layer, mean over tasks. Each head: the attention of tokens (rows) to tokens (columns). Last: how
    sensitive a token after the layer (row) is to each token before it (column). Even numbers are x tokens, odd ones
    hold the label of the x token before them; the query is last. A layer that copies labels has its largest numbers in
    even rows one column right of the diagonal.
    """
    attention = findings.arrays.get("attention")
    if attention is None or attention.ndim > len(AXES):  # of several checkpoints, whose heads have no order
        return None
    names = [head_name((0, head)) for head in range(len(attention[0]))]
    held = dict(zip(names[:MOST_HEADS], attention[0], strict=False)) | {SENSITIVITY: findings.arrays[SENSITIVITY]}
    shown = page.chosen(held)
    axes = page.grid(len(shown), 3, 2.6, square=True)
    tables = []
    for (title, values), ax in zip(shown.items(), axes, strict=True):
        tables.append(_map(values, ax, title))
        page.color_bar([ax], "state / input" if title == SENSITIVITY else "attention")
    page.heading(f"the first {MOST_HEADS} of {len(names)} heads" if len(names) > MOST_HEADS else "")
    return marks.together(tables)


def _map(values: np.ndarray, ax: Axes, title: str) -> pd.DataFrame:
    head_marks.image(values, ax, middle=0.0 if (values < 0).any() else None)
    ax.set(title=title, xlabel="token before" if title == SENSITIVITY else "key", aspect="equal")
    ax.set_ylabel("token after" if title == SENSITIVITY else "query")
    table = marks.frame(
        {"panel": title, "series": f"token {row}", "kind": "estimate", "at": column, "value": value}
        for (row, column), value in np.ndenumerate(values)
    )
    return marks.together([table, marks.no_nulls_here(title, "measures.csv holds those of the means over tokens")])
