"""Marks for attention heads: maps of layers by heads and of heads by offsets, symbols on marked heads, and curves.

Which heads are marked, and how, a probe says: a `Look` for each. Tables have the columns of `marks.COLUMNS`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patheffects import withStroke
from matplotlib.ticker import MaxNLocator

from ..findings import Head, head_name
from . import legends, marks
from .marks import GREY, Look

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from ..measure import Measure

Marked = Mapping[Head, Look]
"""What is drawn on some heads, in the order of their rows and of the legend; the label says why they are marked."""
OTHER = Look("other head", GREY, "o", "-")
MOST_ROWS = 24
"""Heads that are shown one a row."""


def named(head: Head, marked: Marked) -> Look:
    """A head as a series of its own: its name, and the look of its mark."""
    return replace(marked.get(head, OTHER), label=head_name(head))


def mark_keys(marked: Marked, lines: bool = False) -> list[Artist]:
    """The symbol (or the line) of each mark, and how many heads have it."""
    keys = []
    looks = list(marked.values())
    for look in dict.fromkeys(looks):
        count = looks.count(look)
        line = {"color": look.color, "ls": look.line, "marker": look.marker, "ms": 3}
        style = line if lines else _symbol(look, 4.5)
        keys.append(Line2D([], [], label=f"{look.label} ({count} head{'s' * (count > 1)})", **style))
    return keys


def _symbol(look: Look, size: float) -> dict[str, Any]:
    """With a black edge in a white ring: one of the two stands out from whatever colour a cell has."""
    ring = withStroke(linewidth=0.34 * size, foreground="white")
    edge = {"mec": "black", "mew": 0.1 * size}
    return {"ls": "", "marker": look.marker, "ms": size, "color": look.color, "path_effects": [ring], **edge}


# -- maps --------------------------------------------------------------------------------------------------------------


def map_height(n_layers: int) -> float:
    """Inches that a map of so many layers takes, without its colour bar."""
    return min(max(0.16 * n_layers, 0.4), 2.2)


def head_map(
    measure: Measure,
    ax: Axes,
    panel: str,
    marked: Marked,
    limit: float | None = None,
    middle: float | None = None,
    least: float = 0.0,
) -> pd.DataFrame:
    """A measure of layers and heads as a heat map, with symbols on the marked heads.

    limit:   how far the colours go; None: to the largest value
    middle:  diverging colours around it, which end so far on either side; None: sequential ones from 0
    least:   how far the colours go at least, so that noise does not look like a finding
    """
    if not marks.has_number(measure):
        return marks.write_words(ax, measure.message, panel)
    image(measure.values, ax, limit, middle, least)
    ax.set(xlabel=measure.axes[1].replace("_", "-"), ylabel=measure.axes[0])
    low, high = measure.interval
    table = marks.frame(
        {
            "panel": panel, "series": head_name((layer, head)), "kind": "estimate", "value": value,
            "low": low[layer, head], "high": high[layer, head], "replicate": measure.replicate, "n": measure.n,
        }
        for (layer, head), value in np.ndenumerate(measure.values)
    )  # fmt: skip
    symbols = _marks_on(ax, panel, measure.values.shape, marked)
    return marks.together([table, symbols, marks.nulls_elsewhere(measure, panel)])


def _marks_on(ax: Axes, panel: str, shape: tuple[int, ...], marked: Marked) -> pd.DataFrame:
    """Symbols as large as the cells of a map have room for."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    cell = min(ax.get_position().width * figure.get_figwidth() / shape[1], map_height(shape[0]) / shape[0])
    for (layer, head), look in marked.items():
        ax.plot([head], [layer], **_symbol(look, float(np.clip(43 * cell, 2.4, 6))))
    return marks.frame(
        {"panel": panel, "series": head_name(head), "kind": "mark", "message": look.label}
        for head, look in marked.items()
    )


def offset_map(measure: Measure, ax: Axes, panel: str, marked: Marked) -> pd.DataFrame:
    """Attention of the marked heads, one a row, by how far back it goes: a measure with axes (layer, head, offset)."""
    rows = {head: measure.at(layer=head[0], head=head[1]) for head in marked}
    offsets = measure.labels("offset")
    image(np.stack([row.values for row in rows.values()]), ax, limit=1.0)
    ax.set_yticks(range(len(rows)), [head_name(head) for head in rows])
    columns = [int(column) for column in ax.get_xticks() if 0 <= column < len(offsets)]
    ax.set_xticks(columns, [str(offsets[column]) for column in columns])  # long periods leave a gap in the middle
    ax.set_xlabel("tokens back")
    for y, look in enumerate(marked.values()):
        ax.plot([1.03], [y], transform=ax.get_yaxis_transform(), clip_on=False, **_symbol(look, 4))
    table = marks.frame(
        {
            "panel": panel, "series": head_name(head), "kind": "estimate", "at": offset, "value": value, "low": low,
            "high": high, "replicate": row.replicate, "n": row.n,
        }
        for head, row in rows.items()
        for offset, value, low, high in zip(offsets, row.values, *row.interval, strict=True)
    )  # fmt: skip
    return marks.together([table, marks.nulls_elsewhere(measure, panel)])


def image(
    values: np.ndarray, ax: Axes, limit: float | None = None, middle: float | None = None, least: float = 0.0
) -> None:
    """A matrix as a heat map; see `head_map`."""
    start = middle or 0.0
    reach = limit or max(float(np.nanmax(np.abs(values - start))), least) or 1.0
    colors = matplotlib.colormaps["viridis" if middle is None else "RdBu_r"].with_extremes(bad="#D9D9D9")
    low = start if middle is None else start - reach
    ax.imshow(values, cmap=colors, vmin=low, vmax=start + reach, aspect="auto", interpolation="nearest")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    ax.spines[:].set_visible(True)


# -- along training ----------------------------------------------------------------------------------------------------


def head_curves(measure: Measure, ax: Axes, panel: str, marked: Marked) -> pd.DataFrame:
    """A measure with the axes (step, layer, head): a curve a marked head, and the range of all others."""
    chosen = {named(head, marked): {"layer": head[0], "head": head[1]} for head in marked}
    return called_curves(measure, ax, panel, chosen, "other heads")


def called_curves(
    measure: Measure, ax: Axes, panel: str, chosen: Mapping[Look, Mapping[str, int]], others: str
) -> pd.DataFrame:
    """A measure over steps, and heads or pairs of them: a curve for each that was chosen, and the range of all others.

    chosen:  where each lies along the axes
    others:  what the others are called
    """
    rest, tables = measure.values.copy(), []
    for cell in chosen.values():
        rest[tuple(cell.get(axis, slice(None)) for axis in measure.axes)] = np.nan
    tables.append(_range(rest.reshape(len(rest), -1), measure, ax, panel, others))
    curves = ((look, measure.at(**cell)) for look, cell in chosen.items())
    tables += [marks.curve(curve, look, ax, panel=panel) for look, curve in curves if marks.has_number(curve)]
    return marks.together([*tables, marks.nulls_elsewhere(measure, panel)])


def _range(rest: np.ndarray, measure: Measure, ax: Axes, panel: str, others: str) -> pd.DataFrame:
    """The minimum, median and maximum over heads, or pairs of them, at each step."""
    held = np.atleast_1d(np.isfinite(rest).any(axis=1))
    if not held.any():
        return marks.frame(())
    steps = [step for step, some in zip(measure.labels("step"), held, strict=True) if some]
    low, middle, high = (reduce(rest[held], axis=1) for reduce in (np.nanmin, np.nanmedian, np.nanmax))
    ax.fill_between(steps, low, high, color=GREY, alpha=0.35, lw=0)
    ax.plot(steps, middle, color=GREY, lw=0.7)
    n = int(np.isfinite(rest).any(axis=0).sum())
    return marks.frame(
        {
            "panel": panel, "series": others, "kind": "minimum, median, maximum", "at": at, "value": m,
            "low": lo, "high": hi, "replicate": "head", "n": n,
        }
        for at, m, lo, hi in zip(steps, middle, low, high, strict=True)
    )  # fmt: skip


def others_key(others: str = "others") -> Artist:
    return legends.band_key(f"{others}: minimum, median, maximum", GREY)
