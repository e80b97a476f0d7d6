"""Marks along training: panels of curves over steps with their nulls, an axis of steps, and what a legend says."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from . import marks
from .marks import Look

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from ..probes.measure import Measure
    from .figures import Page


Draw = Callable[..., pd.DataFrame]
"""Draws one panel: (ax=, panel=) -> table."""


def panels_figure(panels: Mapping[str, tuple[Draw, str]], page: Page, keys: Sequence[Artist]) -> pd.DataFrame | None:
    """Panels three by three with one legend; by title, what draws each and the label of its y axis."""
    if not panels:
        return None
    n_rows = -(-len(panels) // 3)
    axes = page.grid(n_rows, min(len(panels), 3), 0.7 + 1.35 * n_rows)
    tables = []
    for (title, (draw, label)), ax in zip(panels.items(), axes, strict=False):
        tables.append(draw(ax=ax, panel=title))
        ax.set(title=title, ylabel=label)
    for ax in axes[len(panels) :]:
        ax.set_axis_off()
    page.legend(keys)
    return marks.together(tables)


def over_steps(found: Mapping[Look, Measure], ax: Axes, panel: str, nulls: Sequence[str] = ()) -> pd.DataFrame:
    """Measures with the only axis "step" as curves, over the nulls of the first.

    nulls:  all nulls of the figure, where its measures differ in theirs
    """
    look, first = next(iter(found.items()))
    tables = [marks.null_bands(first, ax, panel, look.label, nulls)]
    tables += [marks.curve(measure, series, ax, panel=panel) for series, measure in found.items()]
    step_axis(ax, first.labels("step"))
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
    ax.set_xticks([0, *decades], ["0", *(marks.plain(d) for d in decades)])
    ax.set_xlim(-0.4 * first if min(steps) == 0 else 0.7 * first, 1.5 * last)


def keys(looks: Iterable[Look], measures: Sequence[Measure]) -> list[Artist]:
    """What curves over steps, their bands, single replicates and nulls look like, for a legend."""
    handles = [marks.line_key(look) for look in looks]
    if bands := marks.evidence(measures):
        handles.append(marks.band_key(bands))
    if replicates := {measure.replicate for measure in measures if measure.points is not None}:
        handles.append(marks.thin_key(f"one {replicates.pop()}"))
    order = marks.null_names(measures)
    nulls = {name: look for measure in measures for name, look in marks.null_looks(measure, order).items()}
    return handles + [marks.band_key(f"{name}, 95 % range", look.color) for name, look in nulls.items()]
