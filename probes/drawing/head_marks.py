"""Marks for attention heads: maps of layers by heads and of heads by offsets, a symbol for each verdict, and curves.

A head prints as L3H5: layer 3, head 5, both counted from 0. Tables have the columns of `marks.COLUMNS`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import matplotlib
import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from . import marks, panels
from .marks import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION, YELLOW, Look

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from ..measure import Measure

Head = tuple[int, int]
"""Layer and head."""

VERDICTS = {
    "induction": Look("induction", VERMILION, "o", "-"),
    "anti-induction": Look("anti-induction", BLUE, "v", "--"),
    "fixed-offset": Look("fixed offset", PURPLE, "X", ":"),
    "previous-token": Look("previous token", GREEN, "<", "-."),
    "duplicate-token": Look("duplicate token", ORANGE, "s", "--"),
    "current-token": Look("current token", YELLOW, "D", ":"),
    "first-token": Look("first token", SKY, "^", "-."),
}
"""How heads of a verdict are drawn; those without any are not marked."""
OTHER = Look("other head", GREY, "o", "-")

MOST_ROWS = 24
"""Heads that are shown one a row."""


def name(head: Head) -> str:
    return f"L{head[0]}H{head[1]}"


def called(verdicts: Mapping[str, str], *wanted: str) -> list[Head]:
    """The heads with one of these verdicts (default: any that has a symbol), verdict by verdict."""
    order = list(wanted or VERDICTS)
    heads = ((re.fullmatch(r"L(\d+)H(\d+)", key), verdict) for key, verdict in verdicts.items())
    found = [(order.index(verdict), int(key[1]), int(key[2])) for key, verdict in heads if key and verdict in order]
    return [(layer, head) for _, layer, head in sorted(found)]


def look(head: Head, verdicts: Mapping[str, str]) -> Look:
    """A head as a series of its own: its name, and the looks of its verdict."""
    return replace(VERDICTS.get(verdicts.get(name(head), ""), OTHER), label=name(head))


def verdict_keys(verdicts: Mapping[str, str], lines: bool = False) -> list[Artist]:
    """The symbol (or the line) of each verdict that any head has, and how many have it."""
    keys = []
    for verdict, of in VERDICTS.items():
        if count := len(called(verdicts, verdict)):
            style = {"color": of.color, "ls": of.line, "marker": of.marker, "ms": 3} if lines else _symbol(of, 4.5)
            keys.append(Line2D([], [], label=f"{of.label} ({count} head{'s' * (count > 1)})", **style))
    return keys


def _symbol(of: Look, size: float) -> dict[str, Any]:
    return {"ls": "", "marker": of.marker, "ms": size, "color": of.color, "mec": "white", "mew": 0.1 * size}


# -- maps --------------------------------------------------------------------------------------------------------------


def map_height(n_layers: int) -> float:
    """Inches that a map of so many layers takes, without its colour bar."""
    return min(max(0.16 * n_layers, 0.4), 2.2)


def head_map(
    measure: Measure,
    ax: Axes,
    panel: str,
    verdicts: Mapping[str, str],
    limit: float | None = None,
    middle: float | None = None,
) -> pd.DataFrame:
    """A measure of layers and heads as a heat map, and the symbol of its verdict on each head that has one.

    limit:   how far the colours go; None: to the largest value
    middle:  diverging colours around it, which end so far on either side; None: sequential ones from 0
    """
    if not marks.has_number(measure):
        return marks.write_words(ax, measure.message, panel)
    image(measure.values, ax, limit, middle)
    ax.set(xlabel=measure.axes[1].replace("_", "-"), ylabel=measure.axes[0])
    low, high = measure.interval
    table = marks.frame(
        {
            "panel": panel, "series": name((layer, head)), "kind": "estimate", "value": value,
            "low": low[layer, head], "high": high[layer, head], "replicate": measure.replicate, "n": measure.n,
        }
        for (layer, head), value in np.ndenumerate(measure.values)
    )  # fmt: skip
    return marks.together([table, _verdicts_on(ax, panel, measure.values.shape, verdicts)])


def _verdicts_on(ax: Axes, panel: str, shape: tuple[int, ...], verdicts: Mapping[str, str]) -> pd.DataFrame:
    """Symbols as large as the cells of a map have room for."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    cell = min(ax.get_position().width * figure.get_figwidth() / shape[1], map_height(shape[0]) / shape[0])
    heads = called(verdicts)
    for layer, head in heads:
        of = VERDICTS[verdicts[name((layer, head))]]
        ax.plot([head], [layer], **_symbol(of, float(np.clip(43 * cell, 2.4, 6))))
    return marks.frame(
        {"panel": panel, "series": name(head), "kind": "verdict", "message": verdicts[name(head)]} for head in heads
    )


def offset_map(
    measure: Measure, ax: Axes, panel: str, heads: Sequence[Head], verdicts: Mapping[str, str]
) -> pd.DataFrame:
    """Attention of these heads, one a row, by how far back it goes: a measure with the axes (layer, head, offset)."""
    chosen = [measure.at(layer=layer, head=head) for layer, head in heads]
    offsets = measure.labels("offset")
    image(np.stack([of.values for of in chosen]), ax, limit=1.0)
    ax.set_yticks(range(len(heads)), [name(head) for head in heads])
    columns = [int(column) for column in ax.get_xticks() if 0 <= column < len(offsets)]
    ax.set_xticks(columns, [str(offsets[column]) for column in columns])  # long periods leave a gap in the middle
    ax.set_xlabel("tokens back")
    for y, head in enumerate(heads):
        of = VERDICTS[verdicts[name(head)]]
        ax.plot([1.03], [y], transform=ax.get_yaxis_transform(), clip_on=False, **_symbol(of, 4))
    return marks.frame(
        {
            "panel": panel, "series": name(head), "kind": "estimate", "at": offset, "value": value, "low": low,
            "high": high, "replicate": of.replicate, "n": of.n,
        }
        for head, of in zip(heads, chosen, strict=True)
        for offset, value, low, high in zip(offsets, of.values, *of.interval, strict=True)
    )  # fmt: skip


def image(values: np.ndarray, ax: Axes, limit: float | None = None, middle: float | None = None) -> None:
    """A matrix as a heat map; see `head_map`."""
    start = middle or 0.0
    reach = limit or float(np.nanmax(np.abs(values - start))) or 1.0
    colors = matplotlib.colormaps["viridis" if middle is None else "RdBu_r"].with_extremes(bad="#D9D9D9")
    low = start if middle is None else start - reach
    ax.imshow(values, cmap=colors, vmin=low, vmax=start + reach, aspect="auto", interpolation="nearest")
    for axis in (ax.xaxis, ax.yaxis):
        axis.set_major_locator(MaxNLocator(6, integer=True, min_n_ticks=1))
    ax.spines[:].set_visible(True)


def color_bar(axes: Sequence[Axes], label: str) -> None:
    """The colours of maps that share them, below them; nothing where no map was drawn."""
    drawn = [image for ax in axes for image in ax.images]
    if drawn:
        figure = axes[0].get_figure(root=True)
        assert figure is not None
        figure.colorbar(
            drawn[0], ax=list(axes), location="bottom", aspect=25 * min(len(axes), 2), label=label, ticks=MaxNLocator(4)
        )


# -- along training ----------------------------------------------------------------------------------------------------


def head_curves(measure: Measure, ax: Axes, panel: str, verdicts: Mapping[str, str]) -> pd.DataFrame:
    """A measure with the axes (step, layer, head): a curve a head with a verdict, and the range of all others."""
    chosen = {look(head, verdicts): {"layer": head[0], "head": head[1]} for head in called(verdicts)}
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
    curves = ((of, measure.at(**cell)) for of, cell in chosen.items())
    tables += [marks.curve(curve, of, ax, panel=panel) for of, curve in curves if marks.has_number(curve)]
    panels.step_axis(ax, measure.labels("step"))
    return marks.together(tables)


def _range(rest: np.ndarray, measure: Measure, ax: Axes, panel: str, called: str) -> pd.DataFrame:
    held = np.atleast_1d(np.isfinite(rest).any(axis=1))
    if not held.any():
        return marks.frame(())
    steps = [step for step, some in zip(measure.labels("step"), held, strict=True) if some]
    low, middle, high = (of(rest[held], axis=1) for of in (np.nanmin, np.nanmedian, np.nanmax))
    ax.fill_between(steps, low, high, color=GREY, alpha=0.35, lw=0)
    ax.plot(steps, middle, color=GREY, lw=0.7)
    n = int(np.isfinite(rest).any(axis=0).sum())
    return marks.frame(
        {
            "panel": panel, "series": called, "kind": "lowest, median, highest", "at": at, "value": m,
            "low": lo, "high": hi, "replicate": "head", "n": n,
        }
        for at, m, lo, hi in zip(steps, middle, low, high, strict=True)
    )  # fmt: skip


def others_key(others: str = "others") -> Artist:
    return marks.band_key(f"{others}: lowest, median, highest", GREY)
