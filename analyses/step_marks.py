"""Marks along training: curves over steps with their nulls, an axis of steps, and a legend that fills a panel."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from . import marks
from .marks import Look

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..probes.measure import Measure


def over_steps(found: Mapping[Look, Measure], ax: Axes, panel: str) -> pd.DataFrame:
    """Measures with the only axis "step" as curves, over the nulls of the first."""
    look, first = next(iter(found.items()))
    tables = [marks.null_bands(first, ax, panel, look.label)]
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


def legend_panel(ax: Axes, looks: Iterable[Look], measures: Sequence[Measure]) -> None:
    """The legend of curves over steps, in a panel of its own."""
    ax.set_axis_off()
    handles = [marks.line_key(look) for look in looks]
    if bands := marks.evidence(measures):
        handles.append(marks.band_key(bands))
    if replicates := {measure.replicate for measure in measures if measure.points is not None}:
        handles.append(marks.thin_key(f"one {replicates.pop()}"))
    nulls = {name: look for measure in measures for name, look in marks.null_looks(measure).items()}
    handles += [marks.band_key(f"{name}, 95 % range", look.color) for name, look in nulls.items()]
    ax.legend(handles=handles, loc="center left", bbox_to_anchor=(-0.1, 0.5))
