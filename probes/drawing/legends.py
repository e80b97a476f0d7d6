"""Legends: where they stand, and what each mark looks like and is called in them."""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.transforms import ScaledTranslation

from ..statistics.ranges import words_for
from . import marks

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

    from ..measure import Measure

_LETTERS_PER_INCH, _BESIDE_A_LABEL = 17, 7


def evidence(measures: Iterable[Measure]) -> str:
    """`95 % interval, 10,000 tasks`: what the bars and bands of these measures stand for, for a legend."""
    shown = [m for m in measures if marks.has_number(m) and np.isfinite(m.interval[0]).any()]
    if not shown:
        return ""
    replicates = {measure.replicate for measure in shown}
    if len(replicates) > 1:
        return "95 % interval"
    low, high = min(measure.n for measure in shown), max(measure.n for measure in shown)
    first, *rest = replicates.pop().split(" ", 1)
    numbers = f"{low:,}" if low == high else f"{low:,}–{high:,}"
    kind = "t-interval" if any(measure.points is not None for measure in shown) else "interval"
    return f"95 % {kind}, {numbers} {' '.join([first + 's', *rest])}"


def legend_below(figure: Figure, handles: Sequence[Artist]) -> float:
    """One legend below all axes, in as many columns as the width has room for; returns the inches that it takes."""
    if not handles:
        return 0.0
    for handle in handles:
        label = str(handle.get_label())
        handle.set_label(textwrap.fill(label, int(_LETTERS_PER_INCH * figure.get_figwidth()) - _BESIDE_A_LABEL))
    keywords: dict[str, Any] = {"handles": list(handles), "loc": "outside lower center"}
    legend = figure.legend(ncols=len(handles), **keywords)
    columns = _columns_within(0.98 * figure.bbox.width, legend, figure.dpi / 72)
    if columns < len(handles):
        legend.remove()
        legend = figure.legend(ncols=columns, **keywords)
    return legend.get_window_extent().height / figure.dpi


def _columns_within(room: float, legend: Legend, point: float) -> int:
    """Into how many columns the one row of a legend has to be folded: its columns are as wide as their widest label."""
    texts = legend.get_texts()
    labels = np.array([text.get_window_extent().width for text in texts])
    em = point * float(texts[0].get_fontsize())
    beside_a_label = em * (legend.handlelength + legend.handletextpad + legend.columnspacing)
    one_row = legend.get_window_extent().width - labels.sum()
    for columns in range(len(labels), 1, -1):
        widest = sum(column.max() for column in np.array_split(labels, columns))
        if widest + one_row - (len(labels) - columns) * beside_a_label <= room:
            return columns
    return 1


def legend_under(ax: Axes, handles: Sequence[Artist], title: str) -> None:
    """A legend of one column under the tick labels and the label of an axes' x axis."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    place = ax.transAxes + ScaledTranslation(0, -0.34, figure.dpi_scale_trans)
    ax.legend(
        handles=list(handles), title=title, loc="upper center", bbox_to_anchor=(0.5, 0), bbox_transform=place,
        frameon=False,
    )  # fmt: skip


def keys(measures: Iterable[Measure]) -> list[Artist]:
    """What the interval, the replicates and each null look like, for a legend."""
    found = [measure for measure in measures if marks.has_number(measure)]
    order = marks.null_names(found)
    handles: list[Artist] = []
    if words := evidence(found):
        handles.append(Line2D([], [], color=marks.BLACK, marker="o", ms=4, lw=1.2, label=f"estimate, {words}"))
    if replicates := {measure.replicate for measure in found if measure.points is not None}:
        label = f"one {replicates.pop()}"
        handles.append(Line2D([], [], ls="", color=marks.BLACK, marker="o", ms=2, mfc="none", mew=0.5, label=label))
    nulls = {name: look for measure in found for name, look in marks.null_looks(measure, order).items()}
    labels = null_labels(found)
    return handles + [
        Line2D([], [], color=look.color, marker=look.marker, ms=3.2, mew=0, lw=1.5, label=labels[name])
        for name, look in nulls.items()
    ]


def line_key(look: marks.Look, marker: bool = True) -> Artist:
    return Line2D([], [], color=look.color, ls=look.line, marker=look.marker if marker else "", ms=3, label=look.label)


def band_key(label: str, color: str = marks.BLACK) -> Artist:
    return Patch(color=color, alpha=0.3, lw=0, label=label)


def null_labels(measures: Iterable[Measure]) -> dict[str, str]:
    """Each null's name, and what its bars and bands stand for: "untrained, minimum to maximum of 3"."""
    sizes: dict[str, dict[int, None]] = {}
    for measure in measures:
        for name, samples in measure.nulls.items():
            sizes.setdefault(name, {})[len(samples)] = None
    return {name: f"{name}, {' or '.join(dict.fromkeys(map(words_for, of)))}" for name, of in sizes.items()}


def null_keys(grey: Sequence[Measure], own: Sequence[Measure] = ()) -> list[Artist]:
    """Nulls as curves in their bands, for a legend, each name once.

    grey:  measures whose nulls are grey
    own:   measures whose nulls have the colour of their series, in a hatched band
    """
    everyone = [*grey, *own]
    order, labels, in_grey = marks.null_names(everyone), null_labels(everyone), marks.null_names(grey)
    looks = {name: look for measure in everyone for name, look in marks.null_looks(measure, order).items()}
    keys: list[Artist] = [
        Line2D([], [], color=look.color, ls=look.line, lw=1.2, label=labels[name])
        if name in in_grey
        else Line2D([], [], color=marks.BLACK, ls=look.line, lw=0.6, label=labels[name])
        for name, look in looks.items()
    ]
    if any(measure.nulls for measure in own):
        hatched: dict[str, Any] = {"fc": "none", "ec": marks.BLACK, "alpha": 0.5, "lw": 0, "hatch": "////"}
        keys.append(Patch(label="null of the curve in the same colour", **hatched))
    return keys


def thin_key(label: str) -> Artist:
    return Line2D([], [], color=marks.BLACK, lw=0.5, label=label)


def span_key(label: str) -> Artist:
    return Patch(label=label, **marks.SPAN)


def reference_key(label: str) -> Artist:
    return Line2D([], [], label=label, **marks.REFERENCE)
