"""The figure of the effective matrix of every layer, beside the best one."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from jaxtyping import Float

from ...drawing import marks
from .looks import MOST_LAYERS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ...drawing.page import Page
    from ...findings import Findings

Matrix = Float[np.ndarray, "d_in d_in"]
LEAST_MAP = 1.3
"""Inches that a map takes with its labels."""
_DIVERGING = "RdBu_r"


def plot_matrix(matrix: Matrix, limit: float, ax: Axes, panel: str) -> pd.DataFrame:
    """An effective matrix as a heat map, white at 0."""
    ax.imshow(matrix, cmap=_DIVERGING, vmin=-limit, vmax=limit, interpolation="nearest")
    ax.set(title=panel, xlabel="context's x", ylabel="query's x", xticks=[], yticks=[])
    ax.spines[:].set_visible(True)
    ax.label_outer(remove_inner_ticks=True)
    table = marks.frame(
        {"panel": panel, "series": f"row {i}", "kind": "estimate", "at": j, "value": value}
        for (i, j), value in np.ndenumerate(matrix)
    )
    return marks.together([table, marks.no_nulls_here(panel, "these are single weights")])


def matrices_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """The effective matrix M of every layer, whose step is the query's x times M times the sum of y x over the context.
    A step of gradient descent has the learning rate over N on the diagonal, and 0 elsewhere. Beside a single layer: the
    best matrix for the law of its tasks.
    """
    layers, best = findings.arrays["effective_matrix"], findings.arrays.get("optimal_matrix")
    n_seeds = len(layers) if layers.ndim == 4 else 1
    layers, best = (one if one is None or layers.ndim == 3 else one[0] for one in (layers, best))
    assert layers is not None
    drawn = {f"layer {i + 1}": matrix for i, matrix in enumerate(layers[:MOST_LAYERS])}
    drawn |= {} if best is None else {"optimum": best}
    limit = float(np.abs(np.stack(list(drawn.values()))).max()) or 1.0
    shown = page.chosen(drawn)
    columns = min(len(shown), 4)
    side, width = min(page.style.page / columns, 1.7), page.style.column if columns < 3 else None
    axes = page.grid(len(shown), columns, side + 0.4, width=width, least=LEAST_MAP, square=len(shown) <= columns)
    tables = [plot_matrix(matrix, limit, ax, title) for (title, matrix), ax in zip(shown.items(), axes, strict=True)]
    page.color_bar(axes, "learning rate / N")
    notes = [f"the first {MOST_LAYERS} of {len(layers)} layers"] if len(layers) > MOST_LAYERS else []
    page.heading(", ".join(notes + ([f"the first of {n_seeds} seeds"] if n_seeds > 1 else [])))
    return marks.together(tables)
