"""The marks every figure is made of: an estimate with interval, nulls and replicates; each returns what it drew.

What is drawn is a tidy table, the same for every figure: one row a mark, with the columns of `COLUMNS`.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from matplotlib.scale import FuncScale
from matplotlib.ticker import FixedFormatter, FixedLocator, FuncFormatter, LogLocator
from matplotlib.transforms import ScaledTranslation

from ..measure import numbers
from ..statistics.ranges import range_of, words_for
from .minor_ticks import MinorTicks
from .strokes import Strokes

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.legend import Legend

    from ..measure import Measure

COLUMNS = ("panel", "series", "kind", "at", "value", "low", "high", "replicate", "n", "message")
"""panel and series as labelled in the figure; kind: estimate, replicate, null or words; at: row or x coordinate."""

BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, VERMILION, PURPLE = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7",
)  # fmt: skip
GREY = "#8C8C8C"
_NULL_STEP = 0.22  # of a row, from one null to the next
NULL_LOOKS = (
    ("#A6A6A6", "s", "-"),
    ("#595959", "X", (0, (4, 2))),
    ("#808080", "v", (0, (1, 1))),
    ("#BFBFBF", "D", "-."),
)


@dataclass(frozen=True)
class Look:
    """What a series is called, and a colour, a marker and a line style that all say the same."""

    label: str
    color: str = BLACK
    marker: str = "o"
    line: Any = "-"


def frame(records: Iterable[dict[str, Any]]) -> pd.DataFrame:
    return pd.DataFrame(list(records), columns=list(COLUMNS))


def together(frames: Iterable[pd.DataFrame]) -> pd.DataFrame:
    """The tables of several panels, one below the other."""
    parts = [part for part in frames if len(part)]
    return pd.concat(parts, ignore_index=True) if parts else frame(())


def has_number(measure: Measure | None) -> bool:
    return measure is not None and bool(np.isfinite(measure.values).any())


def evidence(measures: Iterable[Measure]) -> str:
    """`95 % interval, 10,000 tasks`: what the bars and bands of these measures stand for, for a legend."""
    shown = [m for m in measures if has_number(m) and np.isfinite(m.interval[0]).any()]
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


def unit_label(measure: Measure) -> str:
    """The unit as a label of an axis; numbers without any are scores."""
    return "score" if measure.unit == "1" else measure.unit


# -- reading measures --------------------------------------------------------------------------------------------------


def last_step(measures: Mapping[str, Measure]) -> dict[str, Measure]:
    """The measures of the last of several steps; measures without steps as they are."""
    return {name: m.at(step=-1) if m.axes[:1] == ("step",) else m for name, m in measures.items()}


# -- rows: one measure without axes a row ------------------------------------------------------------------------------


def rows(
    entries: Sequence[tuple[Look, Measure | None]], ax: Axes, panel: str = "", nulls: Sequence[str] = ()
) -> pd.DataFrame:
    """Each measure as a dot with its interval, one below the other, replicates just below it; None: an empty row.

    nulls:  all nulls of the figure, where its measures differ in theirs: see `null_looks`
    """
    records: list[dict[str, Any]] = []
    strokes = Strokes()
    for y, (look, measure) in enumerate(entries):
        if measure is None:
            continue
        common = {"panel": panel, "series": look.label, "at": look.label, "replicate": measure.replicate}
        found = _row(strokes, float(y), look, measure, nulls) if has_number(measure) else _no_row(ax, float(y), measure)
        records += [common | record for record in found]
    strokes.draw(ax)
    # unlike `set_yticks`, these make no tick before one is drawn
    ax.yaxis.set_major_locator(FixedLocator(range(len(entries))))
    ax.yaxis.set_major_formatter(FixedFormatter([look.label for look, _ in entries]))
    deepest = max([len(nulls), *(len(measure.nulls) for _, measure in entries if measure is not None)])
    ax.set_ylim(len(entries) - 0.5 + _NULL_STEP * max(deepest - 2, 0), -0.5)  # room for the last row's
    ax.tick_params(axis="y", length=0)
    # names that panels beside each other share stand at the first alone: the others' axis has nothing to draw
    ax.yaxis.set_visible(ax.yaxis.get_tick_params()["labelleft"])
    return frame(records)


def _no_row(ax: Axes, y: float, measure: Measure) -> list[dict[str, Any]]:
    word = "undefined" if measure.status == "ok" else measure.status
    background = {"color": "white", "pad": 0.5}
    ax.text(0.05, y, word, transform=ax.get_yaxis_transform(), va="center", style="italic", bbox=background)
    return [{"kind": "words", "message": measure.message}]


def _row(strokes: Strokes, y: float, look: Look, measure: Measure, order: Sequence[str]) -> list[dict[str, Any]]:
    nulls = null_looks(measure, order)
    held = {name: found for name in nulls if len(found := numbers(measure.nulls[name]))}
    records = [
        _null(strokes, y + _NULL_STEP * i, nulls[name], samples) for i, (name, samples) in enumerate(held.items())
    ]
    if measure.points is not None:
        offsets = np.linspace(0.15, 0.3, len(measure.points))
        hollow = {"ls": "", "marker": "o", "ms": 2, "mfc": "none", "mec": look.color, "mew": 0.5}
        strokes.add(measure.points.tolist(), (y + offsets).tolist(), **hollow, zorder=2)
        records += [{"kind": "replicate", "value": float(value), "n": 1} for value in measure.points]
    low, high = (float(bound) for bound in measure.interval)
    if np.isfinite(low) and np.isfinite(high):
        strokes.add([low, high], [y, y], color=look.color, lw=1.2, solid_capstyle="butt", zorder=2.001)
    strokes.add([measure.estimate], [y], ls="", marker=look.marker, color=look.color, ms=4, zorder=2.002)
    return [*records, {"kind": "estimate", "value": measure.estimate, "low": low, "high": high, "n": measure.n}]


def null_looks(measure: Measure, nulls: Sequence[str] = ()) -> dict[str, Look]:
    """A look for each null of a measure; by its place among `nulls`, where a figure's measures differ in theirs."""
    order = list(dict.fromkeys((*nulls, *measure.nulls)))
    return {name: Look(name, *NULL_LOOKS[order.index(name) % len(NULL_LOOKS)]) for name in measure.nulls}


def null_names(measures: Iterable[Measure]) -> tuple[str, ...]:
    """All nulls of several measures, each once."""
    return tuple(dict.fromkeys(name for measure in measures for name in measure.nulls))


def _null(strokes: Strokes, y: float, look: Look, samples: np.ndarray) -> dict[str, Any]:
    low, high, _ = range_of(samples)
    mean = float(samples.mean())
    strokes.add([float(low), float(high)], [y, y], color=look.color, lw=1.5, solid_capstyle="butt", zorder=1.5)
    strokes.add([mean], [y], ls="", marker=look.marker, ms=3.2, color=look.color, mew=0, zorder=1.6)
    return {
        "kind": f"null: {look.label}", "value": mean, "low": float(low), "high": float(high),
        "replicate": "null", "n": len(samples),
    }  # fmt: skip


# -- curves: one measure along one axis --------------------------------------------------------------------------------


def curve(measure: Measure, look: Look, ax: Axes, panel: str = "", every: int | tuple[int, int] = 1) -> pd.DataFrame:
    """A measure along its only axis as a line with its interval as a band; replicates as thin lines."""
    at = np.asarray(measure.labels(measure.axes[0]), dtype=np.float64)
    low, high = measure.interval
    for points in () if measure.points is None else measure.points:
        ax.plot(at, points, color=look.color, ls=look.line, lw=0.5, alpha=0.8, zorder=1.8)
    if np.isfinite(low).any():
        ax.fill_between(at, low, high, color=look.color, alpha=0.2, lw=0)
    ax.plot(at, measure.values, color=look.color, ls=look.line, marker=look.marker, ms=3, markevery=every)
    common = {"panel": panel, "series": look.label, "replicate": measure.replicate}
    records = [
        common | {"kind": "estimate", "at": a, "value": v, "low": lo, "high": hi, "n": measure.n}
        for a, v, lo, hi in zip(at, measure.values, low, high, strict=True)
    ]
    for points in () if measure.points is None else measure.points:
        records += [
            common | {"kind": "replicate", "at": a, "value": v, "n": 1} for a, v in zip(at, points, strict=True)
        ]
    return frame(records)


def null_bands(measure: Measure, ax: Axes, panel: str, series: str, nulls: Sequence[str] = ()) -> pd.DataFrame:
    """The mean and the range of each null along the measure's only axis, a grey line in a grey band."""
    (axis,) = measure.axes
    records = []
    for name, null in null_looks(measure, nulls).items():
        samples = measure.nulls[name]
        held = np.atleast_1d(np.isfinite(samples).any(axis=0))
        low, high, _ = range_of(samples[:, held])
        mean = np.nanmean(samples[:, held], axis=0)
        at = [label for label, some in zip(measure.labels(axis), held, strict=True) if some]
        ax.fill_between(at, low, high, color=null.color, alpha=0.35, lw=0)
        ax.plot(at, mean, color=null.color, ls=null.line, lw=0.9)
        common = {"panel": panel, "series": series, "kind": f"null: {name}", "replicate": "null", "n": len(samples)}
        records += [
            common | {"at": a, "value": m, "low": lo, "high": hi}
            for a, m, lo, hi in zip(at, mean, low, high, strict=True)
        ]
    return frame(records)


# -- words, scales, legends --------------------------------------------------------------------------------------------


def write_words(ax: Axes, text: str, panel: str = "", series: str = "") -> pd.DataFrame:
    """Words where there is nothing to draw, and why."""
    figure = ax.get_figure(root=True)
    assert figure is not None
    width = ax.get_position().width * figure.get_figwidth()
    lines = textwrap.wrap(text, max(int(width * 13), 12), max_lines=7, placeholder=" …")
    ax.text(
        0.5, 0.5, "\n".join(lines), transform=ax.transAxes, ha="center", va="center", color="#4D4D4D", style="italic"
    )
    ax.set(xticks=[], yticks=[])
    ax.minorticks_off()
    return frame([{"panel": panel, "series": series, "kind": "words", "message": text}])


_REFERENCE: dict[str, Any] = {"color": GREY, "lw": 0.6, "ls": (0, (1, 2))}


def reference(ax: Axes, x: float) -> None:
    """A thin upright line where a mark would be if there were no difference, or at the value of training."""
    ax.axvline(x, zorder=1, **_REFERENCE)


def reference_key(label: str) -> Artist:
    return Line2D([], [], label=label, **_REFERENCE)


def spans_decades(values: Iterable[float]) -> bool:
    """Whether positive numbers need a logarithmic axis to be told apart; one that is a rounding error is just 0."""
    found = np.array([value for value in values if np.isfinite(value)])
    return bool(len(found) and found.min() > 0 and 20 < found.max() / found.min() < 1e6)


def log_scale(ax: Axes, which: Literal["x", "y"]) -> None:
    """A logarithmic axis with plain numbers at its ticks, as few as its range needs."""
    axis = ax.xaxis if which == "x" else ax.yaxis
    ax.set(**{f"{which}scale": "log"})
    low, high = sorted(axis.get_view_interval())
    ratio = high / low
    digits = (1, 1.5, 2, 3, 4, 5, 7) if ratio < 5 else (1, 2, 5) if ratio < 50 else (1,)
    axis.set_major_locator(LogLocator(subs=digits, numticks=6))
    axis.set_major_formatter(FuncFormatter(lambda value, _: tick_label(value)))
    MinorTicks(ax, which)


def decimal(value: float) -> str:
    """A number of order one in words: two digits after the point, and no zero with a sign."""
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")


def tick_label(value: float) -> str:
    """A number as a tick label."""
    if 1e-3 <= abs(value) < 1e4:
        return f"{value:g}"
    exponent = round(math.log10(abs(value)))
    return f"$10^{{{exponent}}}$"


def cosine_scale(ax: Axes, which: Literal["x", "y"]) -> None:
    """An axis for cosines on which each further nine (.9, .99, .999) has the same room, since they part near 1."""
    tiny = 1e-5  # a cosine of exactly 1 lies at .99999, where the axis ends
    axis = ax.xaxis if which == "x" else ax.yaxis
    low, high = (ax.dataLim.intervalx if which == "x" else ax.dataLim.intervaly) if ax.has_data() else (0.0, 1.0)
    low, high = max(min(low, 0.0), -1.0), min(max(high, 0.9), 1.0)

    def spread(cosine: Any) -> Any:
        return -np.log10(np.maximum(1 + tiny - np.asarray(cosine), tiny / 10))

    def gather(place: Any) -> Any:
        return 1 + tiny - 10.0 ** -np.asarray(place)

    ax.set(**{f"{which}scale": FuncScale(axis, (spread, gather))})
    room = 0.06 * (spread(high) - spread(low))
    ends = gather(spread(low) - room), gather(spread(high) + room)
    ax.set(**{f"{which}lim": ends})
    shown = [0.0, 0.9, 0.99, 0.999]
    shown += [-1.0] if low < -0.7 else []
    shown += [0.5] if high < 0.99 else []
    shown += [1.0] if high > 0.9999 else []
    axis.set_major_locator(FixedLocator([cosine for cosine in shown if ends[0] <= cosine <= ends[1]]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}".replace("0.", ".")))


def legend_below(figure: Figure, handles: Sequence[Artist]) -> None:
    """One legend below all axes, in as many columns as the width has room for."""
    if not handles:
        return
    keywords: dict[str, Any] = {"handles": list(handles), "loc": "outside lower center"}
    legend = figure.legend(ncols=len(handles), **keywords)
    columns = _columns_within(0.98 * figure.bbox.width, legend, figure.dpi / 72)
    if columns < len(handles):
        legend.remove()
        figure.legend(ncols=columns, **keywords)


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
    found = [measure for measure in measures if has_number(measure)]
    order = null_names(found)
    handles: list[Artist] = []
    if words := evidence(found):
        handles.append(Line2D([], [], color=BLACK, marker="o", ms=4, lw=1.2, label=f"estimate, {words}"))
    if replicates := {measure.replicate for measure in found if measure.points is not None}:
        label = f"one {replicates.pop()}"
        handles.append(Line2D([], [], ls="", color=BLACK, marker="o", ms=2, mfc="none", mew=0.5, label=label))
    nulls = {name: look for measure in found for name, look in null_looks(measure, order).items()}
    labels = null_labels(found)
    return handles + [
        Line2D([], [], color=look.color, marker=look.marker, ms=3.2, mew=0, lw=1.5, label=labels[name])
        for name, look in nulls.items()
    ]


def line_key(look: Look, marker: bool = True) -> Artist:
    return Line2D([], [], color=look.color, ls=look.line, marker=look.marker if marker else "", ms=3, label=look.label)


def band_key(label: str, color: str = BLACK) -> Artist:
    return Patch(color=color, alpha=0.3, lw=0, label=label)


def null_labels(measures: Iterable[Measure]) -> dict[str, str]:
    """Each null's name, and what its bars and bands stand for: "untrained, minimum to maximum of 3"."""
    sizes: dict[str, dict[int, None]] = {}
    for measure in measures:
        for name, samples in measure.nulls.items():
            sizes.setdefault(name, {})[len(samples)] = None
    return {name: f"{name}, {' or '.join(dict.fromkeys(map(words_for, of)))}" for name, of in sizes.items()}


def null_keys(measures: Sequence[Measure]) -> list[Artist]:
    """Nulls as curves in their bands, for a legend."""
    order, labels = null_names(measures), null_labels(measures)
    nulls = {name: look for measure in measures for name, look in null_looks(measure, order).items()}
    return [Line2D([], [], color=look.color, ls=look.line, lw=1.2, label=labels[name]) for name, look in nulls.items()]


def thin_key(label: str) -> Artist:
    return Line2D([], [], color=BLACK, lw=0.5, alpha=0.8, label=label)
