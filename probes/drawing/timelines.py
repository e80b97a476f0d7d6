"""Courses of several measures one above the other, on one axis of log steps, with their onsets."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from matplotlib.lines import Line2D

from ..statistics.bootstrap import t_interval
from . import legends, marks, steps
from .page import Page

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from ..followed import Course
    from ..statistics.onset import Onset

COLORS = (marks.BLUE, marks.VERMILION, marks.GREEN, marks.PURPLE, marks.OLIVE, marks.SKY, marks.ORANGE, marks.BLACK)
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "h")
_NULL = (0, (4, 2))
_HEIGHT, _NARROW = 1.05, 0.95  # inches of a panel, on a wide page and on a column
_LABEL = 14  # letters beside a panel
_BOTTOM = 0.06  # of a panel's height: where steps without a number have their marks
ABSENT: Mapping[str, dict[str, Any]] = {
    "failed": {"marker": "x", "color": "#B00020", "ms": 3.5, "mew": 0.9},
    "no number": {"marker": "|", "color": marks.GREY, "ms": 4, "mew": 0.9},
}


@dataclass(frozen=True)
class Track:
    """One panel.

    title:    of the panel
    label:    of its y axis
    courses:  of each training, by name
    onsets:   of each training that has one
    """

    title: str
    label: str
    courses: Mapping[str, Course]
    onsets: Mapping[str, Onset]


def tracks_figure(tracks: Sequence[Track], noun: str, page: Page) -> pd.DataFrame:
    """Each track in a panel of its own, all over the same steps.

    noun:  what several trainings are: "seed"
    """
    shown = page.chosen({track.title: track for track in tracks})
    height = _HEIGHT if page.style.page > 4 else _NARROW
    axes = page.grid(len(shown), 1, height, width=page.style.page)
    every = sorted({step for track in tracks for course in track.courses.values() for step in course.steps})
    tables = []
    for number, ((title, track), ax) in enumerate(zip(shown.items(), axes, strict=True)):
        ax.set(title=title, ylabel=textwrap.fill(track.label, _LABEL))
        look = marks.Look(title, COLORS[number % len(COLORS)], MARKERS[number % len(MARKERS)])
        tables.append(_track(track, look, noun, ax))
        steps.set_axis(ax, every, "logarithmic" if len(every) > 1 and every[-1] > 0 else "linear")
        if ax is not axes[-1]:
            ax.set_xlabel("")
            ax.tick_params(axis="x", labelbottom=False)
    page.legend(_keys(list(shown.values()), noun))
    return marks.together(tables)


def _track(track: Track, look: marks.Look, noun: str, ax: Axes) -> pd.DataFrame:
    many = len(track.courses) > 1
    tables = [_onsets(track, look, ax)]
    for name, course in track.courses.items():
        tables.append(_course(name, course, look, ax, thin=many))
    if many:
        tables.append(_mean(track, look, noun, ax))
    tables.append(_absent(track, ax))
    return marks.together(tables)


def _course(name: str, course: Course, look: marks.Look, ax: Axes, thin: bool) -> pd.DataFrame:
    """One training: a line through the steps that count, its interval, its null; copies as hollow points."""
    counts, at = course.measured, np.array(course.steps, dtype=np.float64)
    line: dict[str, Any] = {"lw": 0.5, "zorder": 1.8} if thin else {"marker": look.marker, "ms": 3}
    ax.plot(at[counts], course.estimate[counts], color=look.color, **line)
    if not thin and (course.high > course.low)[counts].any():
        ax.fill_between(at[counts], course.low[counts], course.high[counts], color=look.color, alpha=0.2, lw=0)
    ax.plot(at[counts], course.null[counts], color=look.color, ls=_NULL, lw=0.5 if thin else 0.9, zorder=1.7)
    copies = course.copied & np.isfinite(course.estimate)
    hollow = {"ls": "", "marker": look.marker, "ms": 3, "mfc": "white", "mec": look.color, "mew": 0.7}
    if copies.any():
        ax.plot(at[copies], course.estimate[copies], **hollow)
    common = {"panel": look.label, "series": name}
    columns = (course.steps, course.estimate, course.low, course.high, course.null, course.copied, course.why)
    rows = []
    for step, value, low, high, null, copied, why in zip(*columns, strict=True):
        if np.isfinite(value):
            kind = "copy" if copied else "estimate"
            rows.append(common | {"kind": kind, "at": step, "value": value, "low": low, "high": high, "message": why})
        if np.isfinite(null):
            rows.append(common | {"kind": "null", "at": step, "value": null})
    return marks.frame(rows)


def _mean(track: Track, look: marks.Look, noun: str, ax: Axes) -> pd.DataFrame:
    """The mean over trainings with its t-interval, at the steps that all of them have."""
    of_step = [
        {step: float(value) for step, value, counts in zip(c.steps, c.estimate, c.measured, strict=True) if counts}
        for c in track.courses.values()
    ]
    common = sorted(set.intersection(*map(set, of_step)))
    if not common:
        return marks.frame(())
    points = np.array([[values[step] for step in common] for values in of_step])
    low, high = t_interval(points)
    mean = points.mean(axis=0)
    ax.fill_between(common, low, high, color=look.color, alpha=0.2, lw=0)
    ax.plot(common, mean, color=look.color, marker=look.marker, ms=3)
    return marks.frame(
        {"panel": look.label, "series": "mean", "kind": "estimate", "at": step, "value": value, "low": lo, "high": hi,
         "replicate": noun, "n": len(points)}
        for step, value, lo, hi in zip(common, mean, low, high, strict=True)
    )  # fmt: skip


def _onsets(track: Track, look: marks.Look, ax: Axes) -> pd.DataFrame:
    """The bracket of each training, shaded: darker where those of several lie above each other."""
    rows = []
    alpha = max(0.08, 0.3 / len(track.courses))
    for name, onset in track.onsets.items():
        if onset.after is not None and onset.by is not None:
            ax.axvspan(onset.after, onset.by, color=look.color, alpha=alpha, lw=0, zorder=0.5)
        low, high = (np.nan if step is None else step for step in (onset.after, onset.by))
        found = {"panel": look.label, "series": name, "kind": "onset", "low": low, "high": high}
        rows.append(found | {"message": onset.sentence})
    return marks.frame(rows)


def _absent(track: Track, ax: Axes) -> pd.DataFrame:
    """A mark at the bottom for each step without a number of its own, whatever the training."""
    places = ax.get_xaxis_transform()
    for kind, style in ABSENT.items():
        at = sorted({step for course in track.courses.values() for step, _ in _without(course, kind)})
        if at:
            ax.plot(at, [_BOTTOM] * len(at), ls="", transform=places, clip_on=False, zorder=3, **style)
    return marks.frame(
        {"panel": track.title, "series": name, "kind": kind, "at": step, "message": why}
        for name, course in track.courses.items() for kind in ABSENT for step, why in _without(course, kind)
    )  # fmt: skip


def _without(course: Course, kind: str) -> list[tuple[int, str]]:
    wanted = ~np.isfinite(course.estimate) & (course.failed == (kind == "failed"))
    return [(step, why) for step, why, absent in zip(course.steps, course.why, wanted, strict=True) if absent]


def _keys(tracks: Sequence[Track], noun: str) -> list[Artist]:
    """Of what is drawn, in black: each panel has a colour of its own."""
    courses = [course for track in tracks for course in track.courses.values()]
    several = max(len(track.courses) for track in tracks)
    keys: list[Artist] = []
    if several > 1:
        band = f"95 % t-interval over {several} {noun}s"
        keys += [Line2D([], [], color=marks.BLACK, label=f"mean over {noun}s"), legends.thin_key(f"one {noun}")]
    else:
        band = "95 % interval"
        keys.append(Line2D([], [], color=marks.BLACK, label="estimate"))
    if several > 1 or any((course.high > course.low).any() for course in courses):
        keys.append(legends.band_key(band))
    if any(np.isfinite(course.null).any() for course in courses):
        keys.append(Line2D([], [], color=marks.BLACK, ls=_NULL, lw=0.9, label="null to clear"))
    if any(onset.after is not None and onset.by is not None for track in tracks for onset in track.onsets.values()):
        keys.append(legends.band_key("the onset lies here", marks.GREY))
    if any((course.copied & np.isfinite(course.estimate)).any() for course in courses):
        hollow = {"ls": "", "marker": "o", "ms": 3, "mfc": "white", "mec": marks.BLACK, "mew": 0.7}
        keys.append(Line2D([], [], label="copy of a step", **hollow))
    for kind, style in ABSENT.items():
        if any(_without(course, kind) for course in courses):
            keys.append(Line2D([], [], ls="", label=kind, **style))
    return keys
