"""One figure on a page: panels row by row, one legend, and colours that matrices share."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from ....probes.drawing import legends, marks
from ..panels import CurvePanel, MatrixPanel, Panel
from .curves import SEED_WIDTH, curve_panel
from .looks import curves_of, looks_of, seeds_of
from .matrices import matrix_panel

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from ....probes.drawing.page import Page

_CURVES, _NARROW_CURVES = 1.5, 1.3
"""Inches of a panel of curves from the top to the bottom, on a page and on a column."""
_NARROW = 4.0
_LARGEST_MATRIX, _BESIDE_A_MATRIX = 1.7, 0.75
"""Inches: of a matrix with what stands beside it, and of what stands above and below it, a bar of colours included."""
_LEAST_MATRIX = 1.05


def panels_figure(panels: Sequence[Panel], reduced: str, page: Page) -> pd.DataFrame:
    """All panels, and the table of what they show."""
    axes = _axes(panels, page)
    looks, largest = looks_of(panels), _largest(panels)
    tables = [
        curve_panel(panel, looks, ax)
        if isinstance(panel, CurvePanel)
        else matrix_panel(panel, largest[panel.scale], ax)
        for panel, ax in zip(panels, axes, strict=True)
    ]
    for scale in largest:
        of_scale = [ax for panel, ax in zip(panels, axes, strict=True)
                    if isinstance(panel, MatrixPanel) and panel.scale == scale]  # fmt: skip
        page.color_bar(of_scale, "entry")
    page.legend(_keys(panels))
    page.heading(f"reduced: {reduced}" if reduced else "")
    return marks.together(tables)


def _axes(panels: Sequence[Panel], page: Page) -> list[Axes]:
    """Matrices keep their shape; four panels of curves stand in two rows of two, and seven in four and three."""
    n = len(panels)
    if all(isinstance(panel, MatrixPanel) for panel in panels):
        columns = min(n, 4, int(page.style.page / _LEAST_MATRIX))
        columns = columns if n % columns == 0 else 2
        side = min(page.style.page / columns, _LARGEST_MATRIX)
        return page.grid(n, columns, side + _BESIDE_A_MATRIX, least=_LEAST_MATRIX, square=True)
    height = _NARROW_CURVES if page.style.page <= _NARROW else _CURVES
    return page.grid(n, {4: 2, 7: 4, 8: 4}.get(n, 3), height)


def _largest(panels: Sequence[Panel]) -> Mapping[str, float]:
    """The largest entry of the matrices that share their colours."""
    found: dict[str, float] = {}
    for panel in panels:
        if isinstance(panel, MatrixPanel):
            found[panel.scale] = max(found.get(panel.scale, 0.0), float(np.nanmax(np.abs(panel.matrix), initial=0.0)))
    return {scale: limit or 1.0 for scale, limit in found.items()}


def _keys(panels: Sequence[Panel]) -> list[Artist]:
    """What each curve and band is, for the legend."""
    of_curves = [panel for panel in panels if isinstance(panel, CurvePanel)]
    seeds = {label for panel in of_curves for label in seeds_of(panel)}
    keys: list[Artist] = [
        Line2D([], [], color=look.color, ls=look.line, lw=SEED_WIDTH, label=label)
        if label in seeds
        else legends.line_key(look)
        for label, look in looks_of(panels).items()
    ]
    if any(curve.low is not None for curve in curves_of(panels)):
        keys.append(legends.band_key("95 % interval over seeds"))
    return keys
