"""Maps of targets by sources: mean attention and mean push, and attention along training."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np
from jaxtyping import Float

from ...drawing import head_marks, marks
from ..names import ATTENTION_ARRAY, PUSH_ARRAY, mapped

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from ...drawing.page import Page
    from ...findings import Findings

Map = Float[np.ndarray, "target source"]
MOST_SEEDS, MOST_STEPS = 3, 5
LEAST = 0.1
"""How far the colours of attention go at least, so that noise does not look like a finding."""
LEAST_MAP = 1.0
"""Inches from left to right."""
_FIRST_COLOR = 1 / 256
"""Of the range of colours: from here on a cell has another one than 0 has."""


def attention_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Attention that each target (row) pays each source (column), mean over sequences and heads; and the push on it:
    attention times how far β of the source lies above the mean of β over attention. Gradient descent on attention
    scores would raise attention where the push is positive. The two have colours of their own. Of several seeds,
    attention alone, in the same colours.
    """
    maps = mapped(findings.arrays)
    if maps and len({step for _, step in maps}) == 1:
        return _of_seeds(maps, findings, page)
    held = {"attention": ATTENTION_ARRAY, "push": PUSH_ARRAY}
    found = {title: findings.arrays[name] for title, name in held.items() if name in findings.arrays}
    if not found or any(array.ndim != 3 for array in found.values()):  # of a copy model, and of one checkpoint
        return None
    shown = page.chosen({title: array.mean(axis=0) for title, array in found.items()})
    side = min(page.style.column if len(shown) == 1 else page.style.page / 2, 2.4)
    tables = []
    for (title, values), ax in zip(shown.items(), page.grid(len(shown), 2, side + 0.5, square=True), strict=True):
        colors = {"middle": 0.0} if title == "push" else {"least": LEAST}
        head_marks.image(values, ax, **colors)
        ax.set(title=title, xlabel="source", ylabel="target")
        ax.set_aspect("equal")
        tables.append(_table(values, ax, title))
        page.color_bar([ax], {"push": "push (log-odds)"}.get(title, title))
    return marks.together(tables)


def trajectory_attention_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Attention that each target (row) pays each source (column) along training, mean over sequences and heads: a row
    of maps a seed, at steps that all these seeds have. All maps share their colours.
    """
    maps = mapped(findings.arrays)
    seeds = list(dict.fromkeys(seed for seed, _ in maps))
    drawn = seeds[:MOST_SEEDS]
    steps = sorted({step for _, step in maps if all((seed, step) in maps for seed in drawn)})
    if len({step for _, step in maps}) < 2 or not steps:
        return None
    title = "step {1}" if len(seeds) == 1 else "seed {0}, step {1}"
    places = [(seed, step) for seed in drawn for step in _some(steps, MOST_STEPS)]
    shown = page.chosen({title.format(*place): place for place in places})
    columns = _some(steps, max(1, min(MOST_STEPS, int(page.style.page / LEAST_MAP))))
    if len(shown) > 1:
        shown = {title: place for title, place in shown.items() if place[1] in columns}
        _write_how_many(len(drawn), findings, page)
    return _maps({title: maps[place] for title, place in shown.items()}, len(columns), page)


def _of_seeds(maps: Mapping[tuple[int | None, int], Map], findings: Findings, page: Page) -> pd.DataFrame:
    """Of one step."""
    drawn = {f"seed {seed}": values for (seed, _), values in list(maps.items())[:MOST_SEEDS]}
    shown = page.chosen(drawn)
    if len(shown) > 1:
        _write_how_many(len(drawn), findings, page)
    return _maps(shown, len(shown), page)


def _write_how_many(drawn: int, findings: Findings, page: Page) -> None:
    """Above the figure, where more seeds were measured: maps of the first ones are kept."""
    accuracy = findings.measures.get("task_accuracy")
    n = 0 if accuracy is None or accuracy.points is None else len(accuracy.points)
    if n > drawn:
        page.heading(f"the first {drawn} of {n} seeds")


def _some(steps: list[int], most: int) -> list[int]:
    """The first step, the last, and others evenly between them."""
    places = np.linspace(0, len(steps) - 1, min(most, len(steps))).round().astype(int)
    return [steps[place] for place in places]


def _table(values: Map, ax: Axes, panel: str) -> pd.DataFrame:
    """Without cells that have the colour of 0, and without a null."""
    low, high = ax.images[0].get_clim()
    target, source = np.nonzero(np.abs(values) >= max(high, -low) * _FIRST_COLOR)
    table = marks.frame({"panel": panel, "series": f"target {t}", "kind": "estimate", "at": s, "value": values[t, s]}
                        for t, s in zip(target, source, strict=True))  # fmt: skip
    return marks.together([table, marks.no_nulls_here(panel, "this is a mean over sequences")])


def _maps(shown: Mapping[str, Map], columns: int, page: Page) -> pd.DataFrame:
    """Maps that share their colours."""
    limit = max(float(max(np.nanmax(values) for values in shown.values())), LEAST)
    side = min(page.style.page / columns, 2.2) if len(shown) > 1 else min(page.style.column, 2.9)
    beside = 0.1 + 0.5 * columns / len(shown)  # titles, and the bar of colours once
    axes = page.grid(len(shown), columns, side + beside, least=LEAST_MAP, square=True)
    tables = []
    for (title, values), ax in zip(shown.items(), axes, strict=True):
        head_marks.image(values, ax, limit)
        ax.set(title=title, xlabel="source", ylabel="target", xticks=[], yticks=[])
        ax.set_aspect("equal")
        ax.label_outer(remove_inner_ticks=True)
        tables.append(_table(values, ax, title))
    page.color_bar(axes, "attention")
    return marks.together(tables)
