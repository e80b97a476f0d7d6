"""The figure of a layer that gets better than one gradient step by leaving it: loss against cosine, for every seed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from matplotlib.lines import Line2D

from ...comparing.by_candidate import CANDIDATE
from ...drawing import legends, marks, scales
from ...drawing.marks import BLUE, GREEN, ORANGE, PURPLE, VERMILION, Look
from ...statistics.ranges import range_of
from ..names import GD

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

PANEL = "loss and cosine to one gradient step"
_LOOKS = ((BLUE, "s", "-"), (VERMILION, "o", "--"), (GREEN, "D", "-."), (ORANGE, "^", ":"), (PURPLE, "v", "--"))
_SCALE = "output_scale"
_NULL = {"ls": "-", "lw": 1.2, "zorder": 1.5}


def look_of(findings: Findings, place: int = 0) -> Look:
    """The name of a layer is its output scale c; its colour goes by its place among those that are drawn."""
    scale = marks.last_step(findings.measures)[_SCALE]
    label = f"$c$ = {scale.estimate:g}" if marks.has_number(scale) else "wrapped predictor"
    return Look(label, *_LOOKS[place % len(_LOOKS)])


def pairs(findings: Findings) -> tuple[Measure, Measure]:
    """Loss over that of one gradient step, and cosine to it."""
    return findings.measures["loss_over_gd"], findings.measures["cosine"].sel(**{CANDIDATE: GD.name})


def plot_tradeoff(layers: Sequence[Findings], ax: Axes, panel: str = PANEL) -> pd.DataFrame:
    """Each seed's path over training, which ends at the large mark; a layer at one step is that mark alone."""
    looks = [look_of(layer, place) for place, layer in enumerate(layers)]
    tables = [_paths(layer, look, ax, panel) for layer, look in zip(layers, looks, strict=True)]
    tables += [_nulls(layer, look, ax, panel) for layer, look in zip(layers, looks, strict=True)]
    ax.margins(0.08)
    scales.log_scale(ax, "x")
    marks.reference(ax, x=1)
    ax.set(title=panel, xlabel="loss / loss of one gradient step", ylabel="cosine to one gradient step")
    return marks.together(tables)


def _paths(layer: Findings, look: Look, ax: Axes, panel: str) -> pd.DataFrame:
    losses, cosines = pairs(layer)
    steps = cosines.labels("step") if "step" in cosines.axes else (None,)
    tables = []
    for loss, cosine in zip(_each(losses, len(steps)), _each(cosines, len(steps)), strict=True):
        ax.plot(loss, cosine, color=look.color, ls=look.line, lw=0.7, marker=look.marker, ms=1.8)
        ax.plot(loss[-1:], cosine[-1:], color=look.color, ls="", marker=look.marker, ms=4)
        tables.append(marks.frame(
            {
                "panel": panel, "series": look.label, "kind": "replicate", "at": x, "value": y, "n": 1,
                "replicate": cosines.replicate, "message": "" if step is None else f"step {step}",
            }
            for step, x, y in zip(steps, loss, cosine, strict=True)
        ))  # fmt: skip
    if losses.points is None and len(steps) == 1:
        tables.append(_interval(losses, cosines, look, ax, panel))
    return marks.together(tables)


def _each(measure: Measure, n_steps: int) -> Float[np.ndarray, "seed step"]:
    """One row a seed."""
    return (measure.values if measure.points is None else measure.points).reshape(-1, n_steps)


def _interval(losses: Measure, cosines: Measure, look: Look, ax: Axes, panel: str) -> pd.DataFrame:
    """Of a single checkpoint, in both directions."""
    x, y = losses.estimate, cosines.estimate
    (left, right), (low, high) = ([float(bound) for bound in one.interval] for one in (losses, cosines))
    ax.plot([left, right, np.nan, x, x], [y, y, np.nan, low, high], color=look.color, lw=1.2, solid_capstyle="butt")
    return marks.frame([
        {
            "panel": panel, "series": look.label, "kind": "estimate", "at": x, "value": y, "low": low, "high": high,
            "replicate": cosines.replicate, "n": cosines.n, "message": f"at: [{left:.6g}, {right:.6g}]",
        }
    ])  # fmt: skip


def _nulls(layer: Findings, look: Look, ax: Axes, panel: str) -> pd.DataFrame:
    """Where the nulls lie at the last step: a cross of the ranges in both directions, through both means."""
    losses, cosines = (marks.last_step({"": measure})[""] for measure in pairs(layer))
    if not cosines.nulls:
        return marks.no_nulls_here(panel, cosines.no_nulls or "none has a number here")
    records = []
    for name, null in marks.null_looks(cosines).items():
        x, y = losses.nulls[name], cosines.nulls[name]
        (left, right, _), (low, high, _), middle = range_of(x), range_of(y), (np.nanmean(x), np.nanmean(y))
        bars = [left, right, np.nan, middle[0], middle[0]], [middle[1], middle[1], np.nan, low, high]
        ax.plot(*bars, color=null.color, **_NULL)
        ax.plot(*([one] for one in middle), color=null.color, marker=null.marker, ms=3.2, mew=0, ls="", zorder=1.6)
        records.append({
            "panel": panel, "series": look.label, "kind": f"null: {name}", "at": middle[0], "value": middle[1],
            "low": float(low), "high": float(high), "replicate": "null", "n": len(y),
        })  # fmt: skip
    return marks.frame(records)


def _keys(layers: Sequence[Findings]) -> Iterator[Artist]:
    for place, layer in enumerate(layers):
        yield legends.line_key(look_of(layer, place))
    held = [pairs(layer)[1] for layer in layers]
    if any("step" in cosine.axes for cosine in held):
        large: dict[str, Any] = {"color": marks.BLACK, "ls": "", "marker": "o", "ms": 4}
        yield Line2D([], [], label="last step", **large)
    if any(cosine.points is not None for cosine in held):
        yield legends.thin_key("one seed")
    alone = [cosine for cosine in held if "step" not in cosine.axes and cosine.points is None]
    if words := legends.evidence(alone):
        yield Line2D([], [], color=marks.BLACK, lw=1.2, label=words)
    labels = legends.null_labels(held)
    for name, null in {name: null for cosine in held for name, null in marks.null_looks(cosine).items()}.items():
        yield Line2D([], [], color=null.color, marker=null.marker, ms=3.2, mew=0, label=labels[name], **_NULL)


def tradeoff_of(layers: Sequence[Findings], page: Page) -> pd.DataFrame | None:
    """The figure of several layers, one output scale each."""
    (panel,) = page.chosen({PANEL: layers})
    (ax,) = page.grid(1, 1, 2.6)
    table = plot_tradeoff(layers, ax, panel)
    page.legend(list(_keys(layers)))
    return table


def tradeoff_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Loss over that of one tuned gradient step, against the cosine of the sensitivities to that step. A path is one
    seed over training, with a mark at each step that was measured; c is the output scale of the layer. Left of the
    dotted line the layer is better than the step. Grey crosses are the ranges of untrained layers, and of the layer on
    b in random order, at the last step.
    """
    if "loss" not in findings.measures:
        return None
    return tradeoff_of([findings], page)
