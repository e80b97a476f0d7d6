"""The marks every figure is made of: an estimate with interval, nulls and replicates; each returns what it drew.

What is drawn is a tidy table, the same for every figure: one row a mark, with the columns of `COLUMNS`.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.ticker import FixedFormatter, FixedLocator

from ..measure import last_step as last_step  # figures read measures and draw marks
from ..measure import numbers
from ..statistics.ranges import range_of
from .strokes import Strokes

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ..measure import Measure

COLUMNS = ("panel", "series", "kind", "at", "value", "low", "high", "replicate", "n", "message")
"""panel and series as labelled in the figure; kind: estimate, replicate, null or words; at: row or x coordinate."""

BLACK, ORANGE, SKY, GREEN, OLIVE, BLUE, VERMILION, PURPLE = (
    "#000000", "#B97A00", "#3D94CC", "#009E73", "#7A7400", "#0072B2", "#D55E00", "#C56FA0",
)  # fmt: skip
"""The hues of Okabe and Ito, which colour-blind readers tell apart, the light ones darkened until their contrast with
white paper is at least 3:1. Markers and lines say the same as colours."""
GREY = "#8C8C8C"
_NULL_STEP = 0.22  # of a row, from one null to the next
NULL_LOOKS = (
    ("#8C8C8C", "s", "-"),
    ("#595959", "X", (0, (4, 2))),
    ("#757575", "v", (0, (1, 1))),
    ("#666666", "D", "-."),
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


def unit_label(measure: Measure) -> str:
    """The unit as a label of an axis; numbers without any are scores."""
    return "score" if measure.unit == "1" else measure.unit


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
    if not held:
        records.append(_no_nulls(measure))
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
        ax.plot(at, points, color=look.color, ls=look.line, lw=0.5, zorder=1.8)
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


def null_bands(
    measure: Measure,
    ax: Axes,
    panel: str,
    series: str,
    nulls: Sequence[str] = (),
    color: str = GREY,
    drawn: bool = True,
) -> pd.DataFrame:
    """The mean and the range of each null along the measure's only axis: a grey line in a grey band; in the colour of
    its series, a line in a hatched one. A measure that has none says why.

    drawn:  False: only the table, since another series of the panel has the same nulls
    """
    (axis,) = measure.axes
    records = [] if measure.nulls else [{"panel": panel, "series": series} | _no_nulls(measure)]
    for name, null in null_looks(measure, nulls).items():
        samples = measure.nulls[name]
        held = np.atleast_1d(np.isfinite(samples).any(axis=0))
        low, high, _ = range_of(samples[:, held])
        mean = np.nanmean(samples[:, held], axis=0)
        at = [label for label, some in zip(measure.labels(axis), held, strict=True) if some]
        if drawn:
            _null_band(ax, at, low, mean, high, null, color)
        common = {"panel": panel, "series": series, "kind": f"null: {name}", "replicate": "null", "n": len(samples)}
        records += [
            common | {"at": a, "value": m, "low": lo, "high": hi}
            for a, m, lo, hi in zip(at, mean, low, high, strict=True)
        ]
    return frame(records)


def _null_band(ax: Axes, at: Sequence[Any], low: Any, mean: Any, high: Any, null: Look, color: str) -> None:
    if color == GREY:
        ax.fill_between(at, low, high, color=null.color, alpha=0.35, lw=0, zorder=0.9)
        ax.plot(at, mean, color=null.color, ls=null.line, lw=0.9, zorder=1.9)
    else:
        ax.fill_between(at, low, high, fc="none", ec=color, alpha=0.5, lw=0, hatch="////", zorder=0.9)
        ax.plot(at, mean, color=color, ls=null.line, lw=0.6, zorder=1.9)


def nulls_elsewhere(measure: Measure, panel: str) -> pd.DataFrame:
    """For a panel that has no room for nulls, where they are."""
    return no_nulls_here(panel, "measures.csv holds them" if measure.nulls else measure.no_nulls)


def no_nulls_here(panel: str, why: str) -> pd.DataFrame:
    """For a panel without nulls, the reason."""
    return frame([{"panel": panel, "kind": "words", "message": f"no null is drawn: {why}"}])


def _no_nulls(measure: Measure) -> dict[str, Any]:
    return {"kind": "words", "message": f"no null: {measure.no_nulls or 'none has a number here'}"}


# -- names of points, words and lines ----------------------------------------------------------------------------------


MOST_NAMES, _APART = 4, 0.15  # of points in a panel; of its height between two names


def name_points(ax: Axes, points: Iterable[tuple[float, float, str]], panel: str) -> pd.DataFrame:
    """The names of some points beside them: of the first ones those that are not in each other's way. Names that the
    font cannot show are left out.
    """
    low, high = ax.get_ylim()
    middle = sum(ax.get_xlim()) / 2
    shown: list[tuple[float, float, str]] = []
    for x, y, name in points:
        free = all(abs(y - other) > _APART * (high - low) for _, other, _ in shown)
        legible = name.strip() != "" and name.isprintable() and max(map(ord, name)) < 256
        if free and legible and len(shown) < MOST_NAMES:
            shown.append((x, y, name))
            side, shift = ("left", 3) if x < middle else ("right", -3)
            ax.annotate(
                name.strip(), (x, y), (shift, 0), textcoords="offset points", ha=side, va="center", fontsize=7,
                parse_math=False, bbox={"fc": "white", "ec": "none", "alpha": 0.7, "pad": 0.5},
            )  # fmt: skip
    return frame({"panel": panel, "kind": "name", "at": x, "value": y, "message": name} for x, y, name in shown)


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


REFERENCE: dict[str, Any] = {"color": GREY, "lw": 0.6, "ls": (0, (1, 2))}


SPAN: dict[str, Any] = {"fc": "#F3E3C8", "ec": "#B97A00", "lw": 0.5}


def reference(ax: Axes, x: float) -> None:
    """A thin upright line where a mark would be if there were no difference, or at the value of training."""
    ax.axvline(x, zorder=1, **REFERENCE)


def span(ax: Axes, start: float, end: float, panel: str, series: str) -> pd.DataFrame:
    """An upright band behind everything, from one x to another."""
    ax.axvspan(start, end, zorder=0.1, **SPAN)
    return frame([{"panel": panel, "series": series, "kind": "interval", "low": start, "high": end}])


def decimal(value: float) -> str:
    """A number of order one in words: two digits after the point, and no zero with a sign."""
    return f"{round(value, 2) + 0.0:.2f}".replace("-", "−")
