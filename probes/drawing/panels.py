"""Figures of several panels of curves, over steps, layers or anything else that has an order, with one legend."""

from __future__ import annotations

import textwrap
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Literal

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from ..measure import Measure
from . import legends, marks, scales, steps
from .marks import Look

if TYPE_CHECKING:
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from .page import Page

Draw = Callable[..., pd.DataFrame]
"""Draws one panel: (ax=, panel=) -> table."""
Curves = Mapping[Look, Measure]
"""Measures along one axis, by what they look like."""
Scale = Callable[["Axes", Literal["x", "y"]], None]
NARROW = 4.0
"""Inches up to which panels are lower, so that two columns of them still fit on a page."""
_LABEL = 16  # letters beside a panel
_MARKERS = 12  # of a curve


@dataclass(frozen=True)
class Panel:
    """One panel of a figure.

    draw:      what draws it; it may set a longer title than the panel's name
    label:     of its y axis
    looks:     its curves, for the legend; none: its measures are rows
    measures:  whose intervals, replicates and nulls the legend explains
    training:  what it shows over training, where that is not `measures`
    """

    draw: Draw
    label: str = ""
    looks: tuple[Look, ...] = ()
    measures: tuple[Measure, ...] = ()
    training: tuple[Measure, ...] = ()

    @property
    def over_steps(self) -> list[Measure]:
        return [measure for measure in self.training or self.measures if measure.axes[:1] == ("step",)]


def panels_figure(
    panels: Mapping[str, Panel],
    page: Page,
    keys: Sequence[Artist] = (),
    columns: int = 3,
    titles: Mapping[str, str] | None = None,
) -> pd.DataFrame | None:
    """Panels row by row with one legend, of what is drawn in them and of other keys.

    titles:  longer ones, with numbers in them, by the names of panels
    """
    if not panels:
        return None
    shown = page.chosen(panels)
    axes = page.grid(len(shown), columns, 1.45 if page.style.page > NARROW else 1.25)
    tables = []
    for (title, panel), ax in zip(shown.items(), axes, strict=True):
        ax.set(title=(titles or {}).get(title, title), ylabel=textwrap.fill(panel.label, _LABEL))
        tables.append(panel.draw(ax=ax, panel=title))
    _set_steps(list(shown.values()), axes, [measure for panel in panels.values() for measure in panel.over_steps])
    page.legend([*_keys(shown.values()), *keys])
    return marks.together(tables)


def _set_steps(panels: Sequence[Panel], axes: Sequence[Axes], measures: Sequence[Measure]) -> None:
    """The same axis of steps for all panels of a figure, also where only some of them are drawn."""
    if measures:
        kind = steps.kind_of(measures)
        for panel, ax in zip(panels, axes, strict=True):
            steps.set_axis(ax, panel.over_steps[0].labels("step"), kind)


def curves_figure(
    drawn: Mapping[str, Curves],
    page: Page,
    columns: int = 3,
    logarithmic: Collection[str] = (),
    signed: Collection[str] = (),
    titles: Mapping[str, str] | None = None,
) -> pd.DataFrame | None:
    """Panels of curves with intervals and nulls, by title; see `curves_panels` and `panels_figure`."""
    return panels_figure(curves_panels(drawn, logarithmic, signed), page, columns=columns, titles=titles)


def curves_panels(
    drawn: Mapping[str, Curves], logarithmic: Collection[str] = (), signed: Collection[str] = ()
) -> dict[str, Panel]:
    """Panels of curves, those that have any number.

    logarithmic:  titles of panels whose numbers span decades
    signed:       titles of panels whose numbers do on both sides of 0
    """
    of_axes = {**dict.fromkeys(logarithmic, scales.log_scale), **dict.fromkeys(signed, scales.signed_log_scale)}
    numbers = {
        title: {look: measure for look, measure in found.items() if marks.has_number(measure)}
        for title, found in drawn.items()
    }
    nulls = marks.null_names(measure for found in numbers.values() for measure in found.values())
    return {
        title: Panel(
            partial(curves, found, nulls=nulls, scale=of_axes.get(title)),
            marks.unit_label(next(iter(found.values()))),
            tuple(found),
            tuple(found.values()),
        )
        for title, found in numbers.items()
        if found
    }


def spanned(drawn: Mapping[str, Panel], start: float, end: float, series: str) -> dict[str, Panel]:
    """The same panels with an upright band behind their marks, from one x to another."""
    return {
        title: replace(panel, draw=partial(_spanned, panel.draw, start, end, series)) for title, panel in drawn.items()
    }


def _spanned(draw: Draw, start: float, end: float, series: str, ax: Axes, panel: str) -> pd.DataFrame:
    return marks.together([draw(ax=ax, panel=panel), marks.span(ax, start, end, panel, series)])


def curves(found: Curves, ax: Axes, panel: str, nulls: Sequence[str] = (), scale: Scale | None = None) -> pd.DataFrame:
    """Measures along one axis, each over its own nulls.

    nulls:  all nulls of the figure, where its measures differ in theirs
    scale:  of the y axis, where it is not linear: (ax, "y")
    """
    first = next(iter(found.values()))
    tables = [null_curves(found, ax, panel, nulls)]
    every = max(1, len(first.values) // _MARKERS)
    tables += [marks.curve(measure, series, ax, panel=panel, every=every) for series, measure in found.items()]
    (axis,) = first.axes
    if axis != "step":
        ax.set_xlabel(axis)
        ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    if scale is not None:
        scale(ax, "y")
    return marks.together(tables)


def null_curves(found: Curves, ax: Axes, panel: str, nulls: Sequence[str] = ()) -> pd.DataFrame:
    """The nulls of each series: in grey where all series of the panel share them, in the series' colour otherwise."""
    shared = share_nulls(found.values())
    tables = []
    for number, (look, measure) in enumerate(found.items()):
        color = marks.GREY if shared else look.color
        tables.append(marks.null_bands(measure, ax, panel, look.label, nulls, color, drawn=not (shared and number)))
    return marks.together(tables)


def share_nulls(measures: Iterable[Measure]) -> bool:
    """Whether these measures, all of them, have the same samples of the same nulls, as a single one has."""
    first, *others = [measure.nulls for measure in measures] or [{}]
    return all(
        other.keys() == first.keys() and all(np.array_equal(other[name], first[name], equal_nan=True) for name in first)
        for other in others
    )


def _keys(panels: Collection[Panel]) -> list[Artist]:
    """What curves, their bands, single replicates and nulls of these panels look like, for a legend."""
    of_curves = [panel for panel in panels if panel.looks]
    measures = [measure for panel in of_curves for measure in panel.measures]
    handles = [legends.line_key(look) for look in dict.fromkeys(look for panel in panels for look in panel.looks)]
    if bands := legends.evidence(measures):
        handles.append(legends.band_key(bands))
    if replicates := {measure.replicate for measure in measures if measure.points is not None}:
        handles.append(legends.thin_key(f"one {replicates.pop()}"))
    shared = [measure for panel in of_curves if share_nulls(panel.measures) for measure in panel.measures]
    own = [measure for panel in of_curves if not share_nulls(panel.measures) for measure in panel.measures]
    of_rows = [measure for panel in panels if not panel.looks for measure in panel.measures]
    return handles + legends.null_keys(shared, own) + legends.keys(of_rows)
