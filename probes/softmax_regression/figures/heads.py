"""Figures of the heads of a language model: both shifts of every head, layer by layer, and along training."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ...drawing import head_marks, marks, panels, scales
from ...drawing.marks import BLACK, BLUE, ORANGE, PURPLE, SKY, VERMILION, Look
from ..head_closeness import at, beyond_random
from ..head_names import ALL, HEADS, LATER

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.axes import Axes

    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

TITLES = {
    "shift_A": "shift by new keys",
    "shift_x": "shift by new query",
    "shift_cosine": "cosine of both",
    "share_of_bound_A": "new keys / bound",
    "share_of_bound_x": "new query / bound",
    "shift_cosine_unscaled": "cosine, unscaled",
}
MAPS = ("shift_A", "shift_x", "share_of_bound_A", "shift_cosine")
CLOSER = Look("cosine above all random directions", VERMILION, "^")
FARTHER = Look("cosine below all random directions", SKY, "v")
LOOKS = {ALL: Look("all keys", BLUE, "o", "-"), LATER: Look("without position 0", ORANGE, "s", "--")}
LAYERS = (Look("first", SKY, "^", ":"), Look("middle", PURPLE, "D", "-."), Look("last", BLACK, "o", "-"))
"""Looks of the first, the middle and the last layer; their numbers are the labels."""
_LENGTHS = {TITLES["shift_A"], TITLES["shift_x"]}
_OF_BOUND = {TITLES["share_of_bound_A"], TITLES["share_of_bound_x"]}
_LEAST = 0.1  # how far the colours of cosines go at least


def heads_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """What each layer's own attention write changes in the attention of its heads: Euclidean length of the shift by the
    keys, and by the query, that a head would form after it; the shift by the new keys per spectral norm of their move,
    as a share of the tight bound |x|/2; and the cosine of both shifts. Symbols: heads whose 95 % interval of the cosine
    lies beyond all random directions.
    """
    measures = marks.last_step(findings.measures)
    found = {name: measure for name in MAPS if (measure := at(measures, name)) and measure.axes == HEADS}
    if not found:
        return None
    height = 0.9 + head_marks.map_height(max(len(measure.values) for measure in found.values()))
    shown = page.chosen({TITLES[name]: (name, measure) for name, measure in found.items()})
    tables, marked = [], _beyond_random(measures)
    for (title, (name, measure)), ax in zip(shown.items(), page.grid(len(shown), 2, height), strict=True):
        of_cosine = name == "shift_cosine"
        colors = {"middle": 0.0, "least": _LEAST} if of_cosine else {}
        tables.append(head_marks.head_map(measure, ax, title, marked if of_cosine else {}, **colors))
        ax.set_title(title)
        page.color_bar([ax], marks.unit_label(measure))
    page.legend(head_marks.mark_keys(marked) if TITLES["shift_cosine"] in shown else [])
    return marks.together(tables)


def layers_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Means over the heads of each layer: Euclidean length of both shifts by the layer's own attention write; their
    cosine; both shifts per length of the move, as shares of the tight bounds |x|/2 and |A|/2 (dotted: the bound); and
    the cosine without the part of the moves that only scales the scores. Position 0 is among the keys or not.
    """
    measures = marks.last_step(findings.measures)
    drawn = {
        title: {look: found for keys, look in LOOKS.items() if (found := at(measures, f"layer_{name}", keys))}
        for name, title in TITLES.items()
    }
    alone = any(len(measure.values) == 1 for curves in drawn.values() for measure in curves.values())
    return _rows(drawn, page) if alone else _curves(drawn, page)


def trajectory_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Along training, means over the heads of a layer: Euclidean length of both shifts by the layer's own attention
    write; their cosine; both shifts per length of the move, as shares of the tight bounds |x|/2 and |A|/2 (dotted: the
    bound); and the cosine without the part of the moves that only scales the scores. All keys.
    """
    measures = findings.measures
    found = {title: at(measures, f"layer_{name}") for name, title in TITLES.items()}
    return _curves(
        {title: _some_layers(measure) for title, measure in found.items() if measure and measure.axes[0] == "step"},
        page,
    )


def _beyond_random(measures: Mapping[str, Measure]) -> head_marks.Marked:
    """The heads whose cosine lies beyond all draws of random directions."""
    beyond = beyond_random(measures)
    if beyond is None:
        return {}
    looks = ((beyond.above, CLOSER), (beyond.below, FARTHER))
    return {(int(layer), int(head)): look for held, look in looks for layer, head in np.argwhere(held)}


def _some_layers(measure: Measure) -> dict[Look, Measure]:
    """The first, the middle and the last layer, of fewer than three all."""
    n = len(measure.labels("layer"))
    shown = dict(zip((0, n // 2, n - 1), LAYERS, strict=True))
    return {
        replace(look, label=f"layer {measure.labels('layer')[place]}"): measure.at(layer=place)
        for place, look in shown.items()
    }


def _curves(drawn: Mapping[str, panels.Curves], page: Page) -> pd.DataFrame | None:
    """Panels of curves, shares beside their bound."""
    made = panels.curves_panels(drawn, _logarithmic(drawn))
    return panels.panels_figure(
        {title: replace(panel, draw=partial(_draw, panel.draw)) for title, panel in made.items()}, page
    )


def _logarithmic(drawn: Mapping[str, panels.Curves]) -> set[str]:
    """Shares of a bound have a logarithmic axis; both lengths have one where they and their nulls span decades."""
    lengths = [measure for title in _LENGTHS for measure in drawn.get(title, {}).values()]
    return _OF_BOUND | _LENGTHS if scales.spans_decades(_numbers(lengths)) else _OF_BOUND


def _numbers(measures: Iterable[Measure]) -> Iterable[float]:
    for measure in measures:
        yield from measure.values.ravel()
        for samples in measure.nulls.values():
            yield from samples.ravel()


def _draw(draw: panels.Draw, ax: Axes, panel: str) -> pd.DataFrame:
    if panel in _OF_BOUND:
        ax.axhline(1.0, **marks.REFERENCE)
    return draw(ax=ax, panel=panel)


def _rows(drawn: Mapping[str, panels.Curves], page: Page) -> pd.DataFrame | None:
    """The same of a single layer, which makes no curve."""
    made, logarithmic = {}, _logarithmic(drawn)
    for title, curves in drawn.items():
        layer = {look: measure.at(layer=0) for look, measure in curves.items()}
        if layer:
            draw = partial(_draw_rows, layer, logarithmic=title in logarithmic)
            made[title] = panels.Panel(draw, measures=tuple(layer.values()))
    return panels.panels_figure(made, page, columns=1 if page.style.page <= panels.NARROW else 2)


def _draw_rows(layer: panels.Curves, ax: Axes, panel: str, logarithmic: bool) -> pd.DataFrame:
    table = marks.rows(list(layer.items()), ax, panel)
    if panel in _OF_BOUND:
        marks.reference(ax, 1.0)
    if logarithmic:
        scales.log_scale(ax, "x")
    ax.set_xlabel(marks.unit_label(next(iter(layer.values()))))
    return table
