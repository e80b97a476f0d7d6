"""A panel of curves with their intervals."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.transforms import offset_copy

from ....probes.drawing import marks, scales
from ....probes.drawing.marks import Look
from ..panels import RANGES, Curve, CurvePanel
from .looks import seeds_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

SEED_WIDTH = 0.6
"""Points: of the line of a single seed."""
_LABEL = 18  # letters beside a panel
_ROOM = 0.05  # of the range of values, above and below them
_FEW = 8  # places of a curve that all have a marker
_ASIDE = 24  # points over which the curves of one place spread
_APART = 0.16  # of a panel's diagonal, from one marker of a curve to the next


def curve_panel(panel: CurvePanel, looks: Mapping[str, Look], ax: Axes) -> pd.DataFrame:
    """Draw the panel, and say what is drawn."""
    ax.set(title=panel.title, xlabel=panel.x_label, ylabel=textwrap.fill(panel.y_label, _LABEL))
    if not panel.curves:
        return marks.write_words(ax, "no curve: see the table of conditions", panel.title)
    low, high = limits(panel)
    seeds, tables = seeds_of(panel), []
    for number, curve in enumerate(panel.curves):
        y = _inside(curve, low, high)
        if curve.label in seeds:
            ax.plot(curve.x, y, color=looks[curve.label].color, ls=looks[curve.label].line, lw=SEED_WIDTH)
        else:
            _line(curve, y, looks[curve.label], number / len(panel.curves), ax)
        tables.append(_table(curve, y, panel.title))
    ax.set_ylim(low, high)
    _x_axis(panel, ax)
    if panel.log_y:
        scales.log_scale(ax, "y")
    return marks.together(tables)


def _line(curve: Curve, y: Float[np.ndarray, " place"], look: Look, begin: float, ax: Axes) -> None:
    """A line with its band. Markers of curves that lie on each other begin at different places."""
    if len(curve.x) == 1:
        _point(curve, y, look, begin, ax)
        return
    if curve.low is not None and curve.high is not None:
        ax.fill_between(curve.x, curve.low, curve.high, color=look.color, alpha=0.2, lw=0)
    every = (begin * _APART, _APART) if len(curve.x) > _FEW else None
    ax.plot(curve.x, y, color=look.color, ls=look.line, marker=look.marker, ms=3, mew=0, markevery=every)


def _point(curve: Curve, y: Float[np.ndarray, " place"], look: Look, begin: float, ax: Axes) -> None:
    """A curve of one place, beside those of the same place."""
    aside = offset_copy(ax.transData, ax.get_figure(root=True), x=(begin - 0.5) * _ASIDE, units="points")
    if curve.low is not None and curve.high is not None:
        ax.vlines(curve.x, curve.low, curve.high, color=look.color, lw=1, transform=aside)
    ax.plot(curve.x, y, color=look.color, ls=look.line, marker=look.marker, ms=3, mew=0, transform=aside)


def _table(curve: Curve, y: Float[np.ndarray, " place"], panel: str) -> pd.DataFrame:
    """What is drawn of a curve."""
    none = (np.nan,) * len(curve.x)
    common = {"panel": panel, "series": curve.label, "kind": "estimate"}
    return marks.frame(
        common | {"at": at, "value": value, "low": low, "high": high}
        for at, value, low, high in zip(curve.x, y, curve.low or none, curve.high or none, strict=True)
    )


def _inside(curve: Curve, low: float, high: float) -> Float[np.ndarray, " place"]:
    """An interpolated model's losses are off by orders of size at first: they begin where they enter the panel."""
    y = np.array(curve.y, dtype=np.float64)
    return np.where((y >= low) & (y <= high), y, np.nan) if curve.role == "interpolated" else y


def limits(panel: CurvePanel) -> tuple[float, float]:
    """Ends of the y axis: all curves and their intervals fit, as far as there are such numbers, but the interpolated
    ones where there are others.
    """
    curves = [curve for curve in panel.curves if curve.role != "interpolated"] or list(panel.curves)
    held = np.concatenate([np.array([*curve.y, *(curve.low or ()), *(curve.high or ())]) for curve in curves])
    held = np.clip(held, *RANGES.get(panel.y_label, (-np.inf, np.inf)))
    held = held[np.isfinite(held) & ((held > 0) | (not panel.log_y))]
    if panel.y_max is not None:
        held = np.append(held[held <= panel.y_max], panel.y_max if (held > panel.y_max).any() else [])
    if not len(held):
        return (0.1, 1.0) if panel.log_y else (0.0, 1.0)
    low, high = float(held.min()), float(held.max())
    if panel.log_y:
        room = (high / low) ** _ROOM if high > low else 1.1
        low, high = low / room, high * room
    else:
        room = _ROOM * ((high - low) or abs(high) or 1.0)
        low, high = low - room, high + room
    return low, high


def _x_axis(panel: CurvePanel, ax: Axes) -> None:
    if panel.log_x:
        scales.log_scale(ax, "x")
        return
    places = sorted({x for curve in panel.curves for x in curve.x})
    if len(places) == 1:
        ax.set(xlim=(places[0] - 1, places[0] + 1), xticks=places)
    else:
        whole = all(float(x).is_integer() for x in places)
        ax.xaxis.set_major_locator(MaxNLocator(4, integer=whole, steps=[1, 2, 2.5, 5, 10]))
    ax.xaxis.set_major_formatter(FuncFormatter(_number))


def _number(value: float, _: Any) -> str:
    return f"{value:,.0f}" if abs(value) >= 1e4 else f"{value:g}".replace("-", "−")
