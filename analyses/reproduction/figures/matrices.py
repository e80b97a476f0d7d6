"""A matrix as a panel of colours."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from ....probes.drawing import marks
from ..panels import MatrixPanel

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_DIVERGING = "RdBu_r"


def matrix_panel(panel: MatrixPanel, limit: float, ax: Axes) -> pd.DataFrame:
    """White at 0, between -limit and limit."""
    ax.imshow(panel.matrix, cmap=_DIVERGING, vmin=-limit, vmax=limit, interpolation="nearest")
    ax.set(title=panel.title, xlabel=panel.x_label, ylabel=panel.y_label)
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(3, integer=True, steps=[1, 2, 5, 10]))
    ax.tick_params(length=0)
    ax.spines[:].set_visible(True)
    return marks.frame(
        {"panel": panel.title, "series": f"row {row}", "kind": "estimate", "at": column, "value": value}
        for (row, column), value in np.ndenumerate(panel.matrix)
    )
