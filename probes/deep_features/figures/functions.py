"""A few tasks as functions: what the model answers at every query, beside its candidates and the sine itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ...comparing.by_candidate import MODEL
from ...drawing import legends, marks
from ..names import ATTENDED_GD, CONTEXT_X, CONTEXT_Y, FEATURE_GD, GRID, TARGET, TWIN, function_of
from .looks import LOOKS

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes

    from ...drawing.page import Page
    from ...findings import Findings

SHOWN = (TARGET, MODEL, FEATURE_GD, ATTENDED_GD, TWIN)
EVERY = 12
"""Points from one marker of a curve to the next."""
CONTEXT_LOOK = marks.Look("context", marks.BLACK, "+", "")


def functions_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """The first tasks as functions of the query's input: answers of the model, of gradient descent on the features of
    its embedding as they stand and as attention reads them, and of the twin; dotted, the sine itself. Crosses are the
    pairs of the context. Of several seeds, the first.
    """
    held = {name: _of_first(findings.arrays.get(function_of(name))) for name in (*SHOWN, GRID, CONTEXT_X, CONTEXT_Y)}
    found = {name: values for name, values in held.items() if values is not None}
    if not {MODEL, GRID, CONTEXT_X, CONTEXT_Y} <= set(found):
        return None
    tasks = {f"task {number + 1}": number for number in range(len(found[GRID]))}
    shown = page.chosen(tasks)
    axes = page.grid(len(shown), 3, 1.6)
    tables = [_plot(found, number, ax, title) for (title, number), ax in zip(shown.items(), axes, strict=True)]
    names = [name for name in SHOWN if name in found]
    page.legend([*(legends.line_key(LOOKS[name]) for name in names), legends.line_key(CONTEXT_LOOK)])
    return marks.together(tables)


def _of_first(values: np.ndarray | None) -> np.ndarray | None:
    """[task, point], of the first seed where there are several."""
    return values[0] if values is not None and values.ndim == 3 else values


def _plot(found: Mapping[str, np.ndarray], task: int, ax: Axes, title: str) -> pd.DataFrame:
    grid, records = found[GRID][task], []
    for name in SHOWN:
        if name in found:
            look, values = LOOKS[name], found[name][task]
            ax.plot(grid, values, color=look.color, ls=look.line, marker=look.marker, ms=3, markevery=EVERY)
            common = {"panel": title, "series": look.label, "kind": "estimate"}
            records += [common | {"at": x, "value": y} for x, y in zip(grid, values, strict=True)]
    pairs = found[CONTEXT_X][task], found[CONTEXT_Y][task]
    ax.plot(*pairs, ls="", marker=CONTEXT_LOOK.marker, color=CONTEXT_LOOK.color, ms=5, zorder=3)
    records += [
        {"panel": title, "series": CONTEXT_LOOK.label, "kind": "pair", "at": x, "value": y}
        for x, y in zip(*pairs, strict=True)
    ]
    ax.set(title=title, xlabel="query x", ylabel="label")
    return marks.together([marks.frame(records), marks.no_nulls_here(title, "a single task has none")])
