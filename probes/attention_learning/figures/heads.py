"""Figures of single heads: their agreements and accuracies, at one step and along training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ...drawing import head_marks, legends, marks, panels
from ...drawing.marks import BLACK, BLUE, GREEN, OLIVE, ORANGE, PURPLE, SKY, VERMILION, Look
from ...findings import head_name
from ..names import ATTENTION, KTIW
from .looks import PUSH, QUANTITIES, marked_heads, pairs, with_number

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.artist import Artist
    from matplotlib.axes import Axes

    from ...drawing.head_marks import Marked
    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

HEADS = ("layer", "head")
MOST_ROWS = 12
"""Heads that are shown one a row, with intervals and nulls."""
LEAST = 0.5
"""How far colours go at least, so that noise does not look like a finding."""
PLAIN = Look("", BLACK, "o")
SINGLE = tuple(
    Look("", color, marker, line)
    for color, marker, line in zip(
        (BLUE, ORANGE, GREEN, VERMILION, PURPLE, SKY, OLIVE, BLACK), "os^vD<PX", 2 * ("-", "--", "-.", ":"), strict=True
    )
)
"""Of heads without a verdict, where they are few: each has a curve of its own."""


def heads_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Each head: how often β is among the 5 % largest at the source that the head attends to most, and agreements of
    other pairs. β: how far this source alone would answer right. Of copy models also the share of targets at which the
    head attends to the right source, and of sources that it alone would translate right. Bars are 95 % intervals,
    symbols verdicts. Grey: β dealt out to the sources anew, or that of another target, and chance.
    """
    found = {title: held for title, held in _of_heads(marks.last_step(findings.measures)).items() if held.axes == HEADS}
    found.pop(PUSH, None)  # of the step before the last
    if not found:
        return None
    shown, marked = page.chosen(found), marked_heads(findings)
    layers, heads = next(iter(found.values())).values.shape
    draw = _as_rows if layers * heads <= MOST_ROWS else _as_maps
    return draw(shown, marked, page)


def trajectory_heads_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Along training, each head: how often β is among the 5 % largest at the source that the head attends to most,
    agreements of other pairs, and accuracies of copy models. Push: what gradient descent would do to attention, beside
    the change of attention up to the next checkpoint. Curves: heads with a verdict at the last step; where heads are
    few and alike, all of them. Bands: 95 % intervals. An axis that is not to scale has all checkpoints at equal
    distances.
    """
    found = {title: held for title, held in _of_heads(findings.measures).items() if held.axes == ("step", *HEADS)}
    if not found:
        return None
    called, each = marked_heads(findings), _each(*next(iter(found.values())).values.shape[1:])
    alike = len(called) in (0, len(each)) and len({*called.values()}) < 2  # their verdict tells nobody apart
    single = bool(each) and alike
    marked = each if single else called
    drawn = {
        title: panels.Panel(partial(_curves, measure, marked), marks.unit_label(measure), training=(measure,))
        for title, measure in found.items()
    }
    keys = [legends.line_key(look) for look in each.values()] if single else _verdict_keys(called)
    bands = legends.evidence(found.values()) if marked else ""
    return panels.panels_figure(drawn, page, keys + ([legends.band_key(bands)] if bands else []))


def _each(layers: int, heads: int) -> Marked:
    """Every head of a model that has few, each with a look of its own; {} of many."""
    places = list(np.ndindex(layers, heads))
    if len(places) > len(SINGLE):
        return {}
    return {place: replace(look, label=head_name(place)) for place, look in zip(places, SINGLE, strict=False)}


def _verdict_keys(marked: Marked) -> list[Artist]:
    """Of heads with a verdict, and of the range of all others."""
    return [
        *head_marks.mark_keys(marked, lines=True),
        head_marks.others_key("other heads" if marked else "all heads"),
    ]


def _of_heads(measures: Mapping[str, Measure]) -> dict[str, Measure]:
    """Measures of heads that have a number, by title."""
    found = pairs(measures.get("head_agreement"))
    for quantity in (ATTENTION, KTIW):
        if (measure := measures.get(f"head_{quantity}_accuracy")) is not None:
            found[f"{QUANTITIES[quantity].label} accuracy"] = measure
    if (push := measures.get("head_agreement_push")) is not None:
        found[PUSH] = push
    return with_number(found)


def _as_rows(shown: Mapping[str, Measure], marked: Marked, page: Page) -> pd.DataFrame:
    looks = dict.fromkeys(np.ndindex(next(iter(shown.values())).values.shape), PLAIN) | dict(marked)
    axes = page.grid(len(shown), 3, 0.5 + 0.2 * len(looks), least=1.3, sharey="row")
    tables, nulls = [], marks.null_names(shown.values())
    for (title, measure), ax in zip(shown.items(), axes, strict=True):
        rows = [(head_marks.named(head, looks), measure.at(layer=head[0], head=head[1])) for head in looks]
        tables.append(marks.rows(rows, ax, title, nulls))
        ax.set(xlim=(-0.03, 1.03), title=title, xlabel=marks.unit_label(measure))
    page.legend([*head_marks.mark_keys(marked), *legends.keys(shown.values())])
    return marks.together(tables)


def _as_maps(shown: Mapping[str, Measure], marked: Marked, page: Page) -> pd.DataFrame:
    height = 0.9 + head_marks.map_height(len(next(iter(shown.values())).values))
    tables = []
    for (title, measure), ax in zip(shown.items(), page.grid(len(shown), 2, height), strict=True):
        tables.append(head_marks.head_map(measure, ax, title, marked, least=LEAST))
        ax.set_title(title)
        page.color_bar([ax], marks.unit_label(measure))
    page.legend(head_marks.mark_keys(marked))
    return marks.together(tables)


def _curves(measure: Measure, marked: Marked, ax: Axes, panel: str) -> pd.DataFrame:
    table = head_marks.head_curves(measure, ax, panel, marked)
    ax.set_ylim(0, min(ax.get_ylim()[1], 1.05))
    return table
