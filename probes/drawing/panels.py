"""Figures of several panels of curves, over steps, layers or anything else that has an order, with one legend."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from ..measure import Measure
from . import marks
from .marks import Look

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from .page import Page

Draw = Callable[..., pd.DataFrame]
"""Draws one panel: (ax=, panel=) -> table."""
Curves = Mapping[Look, Measure]
"""Measures along one axis, by what they look like."""
_LABEL = 16  # letters beside a panel
_MARKERS = 12  # of a curve


def panels_figure(
    panels: Mapping[str, tuple[Draw, str]], page: Page, keys: Sequence[Artist], per_row: int = 3
) -> pd.DataFrame | None:
    """Panels row by row with one legend; by title, what draws each and the label of its y axis."""
    if not panels:
        return None
    n_columns = min(len(panels), per_row)
    n_rows = -(-len(panels) // n_columns)
    width = page.style.column if len(panels) == 1 else None
    axes = page.grid(n_rows, n_columns, 0.7 + 1.35 * n_rows, width)
    tables = []
    for (title, (draw, label)), ax in zip(panels.items(), axes, strict=False):
        tables.append(draw(ax=ax, panel=title))
        ax.set(title=title, ylabel=label)
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    page.legend(keys)
    return marks.together(tables)


def curves_figure(
    drawn: Mapping[str, Curves], page: Page, per_row: int = 3, logarithmic: Collection[str] = ()
) -> pd.DataFrame | None:
    """Panels of curves with intervals and nulls, by title; see `curves_panels`."""
    panels, handles = curves_panels(drawn, logarithmic)
    return panels_figure(panels, page, handles, per_row)


def curves_panels(
    drawn: Mapping[str, Curves], logarithmic: Collection[str] = ()
) -> tuple[dict[str, tuple[Draw, str]], list[Artist]]:
    """Panels of curves, those that have any number, and what the legend says.

    logarithmic:  titles of panels whose numbers span decades
    """
    numbers = {
        title: {look: measure for look, measure in found.items() if marks.has_number(measure)}
        for title, found in drawn.items()
    }
    shown = [item for found in numbers.values() for item in found.items()]
    nulls = marks.null_names(measure for _, measure in shown)
    panels: dict[str, tuple[Draw, str]] = {
        title: (
            partial(curves, found, nulls=nulls, logarithmic=title in logarithmic),
            textwrap.fill(marks.unit_label(next(iter(found.values()))), _LABEL),
        )
        for title, found in numbers.items()
        if found
    }
    return panels, keys(dict(shown), [measure for _, measure in shown])


def curves(found: Curves, ax: Axes, panel: str, nulls: Sequence[str] = (), logarithmic: bool = False) -> pd.DataFrame:
    """Measures along one axis, over the nulls of the first.

    nulls:  all nulls of the figure, where its measures differ in theirs
    """
    look, first = next(iter(found.items()))
    tables = [marks.null_bands(first, ax, panel, look.label, nulls)]
    every = max(1, len(first.values) // _MARKERS)
    tables += [marks.curve(measure, series, ax, panel=panel, every=every) for series, measure in found.items()]
    (axis,) = first.axes
    if axis == "step":
        step_axis(ax, first.labels(axis))
    else:
        ax.set_xlabel(axis)
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if logarithmic:
        marks.log_scale(ax, "y")
    return marks.together(tables)


def step_axis(ax: Axes, steps: Sequence[float]) -> None:
    """Even steps on a linear axis; steps that grow by factors on a logarithmic one that still holds step 0."""
    ax.set_xlabel("training step")
    gaps = np.diff(steps)
    if len(gaps) < 2 or gaps.max() <= 4 * gaps.min():
        return
    first, last = min(step for step in steps if step > 0), max(steps)
    ax.set_xscale("symlog", linthresh=first)
    decades = [10.0**k for k in range(math.ceil(math.log10(first)), math.floor(math.log10(last)) + 1)]
    ax.set_xticks([0, *decades], ["0", *(marks.tick_label(d) for d in decades)])
    ax.set_xlim(-0.4 * first if min(steps) == 0 else 0.7 * first, 1.5 * last)


def keys(looks: Iterable[Look], measures: Sequence[Measure]) -> list[Artist]:
    """What curves, their bands, single replicates and nulls look like, for a legend."""
    handles = [marks.line_key(look) for look in looks]
    if bands := marks.evidence(measures):
        handles.append(marks.band_key(bands))
    if replicates := {measure.replicate for measure in measures if measure.points is not None}:
        handles.append(marks.thin_key(f"one {replicates.pop()}"))
    return handles + marks.null_keys(measures)
