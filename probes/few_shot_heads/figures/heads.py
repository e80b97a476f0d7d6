"""Figures of single heads: their indirect effects at one step, and along training."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np

from ...drawing import head_marks, legends, marks, panels
from ...drawing.marks import BLACK, Look
from ..names import EFFECT, EXCESS, HEADS, PATCH
from .looks import PATCHES, marked_heads

if TYPE_CHECKING:
    import pandas as pd

    from ...drawing.head_marks import Marked
    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

MOST_ROWS = 12
"""Heads that are shown one a row, with intervals and nulls."""
LEAST = 0.02
"""How far colours go at least, so that noise does not look like a finding."""
PLAIN = Look("", BLACK, "o")


def heads_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Indirect effect of each head: how much the probability of the right label rises in prompts with shuffled labels
    when the head's output at the last position is replaced by its mean over clean prompts of the task (task mean), or
    by its output in the query's own clean prompt (own prompt). Bars: 95 % intervals. Grey: the same from prompts whose
    labels are shuffled another time; maps of many heads show the excess over it. Dotted line: no effect. Symbols:
    verdicts.
    """
    measures = marks.last_step(findings.measures)
    found = {name: _parts(measures.get(name)) for name in (EFFECT, EXCESS)}
    if not found[EFFECT]:
        return None
    marked, shape = marked_heads(findings), next(iter(found[EFFECT].values())).values.shape
    if np.prod(shape) <= MOST_ROWS:
        return _as_rows(page.chosen(found[EFFECT]), marked, page)
    return _as_maps(page.chosen(found[EXCESS]), marked, page)


def trajectory_heads_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Along training: the excess of each head's indirect effect over that of another shuffle, by the mean of the task's
    prompts and by the query's own prompt. Curves: heads with a verdict at the last step, with 95 % intervals. Grey: the
    range of all other heads.
    """
    excess = findings.measures.get(EXCESS)
    found = {} if excess is None else _parts(excess, ("step", *HEADS))
    if not found:
        return None
    marked = marked_heads(findings)
    drawn = {
        title: panels.Panel(
            partial(head_marks.head_curves, measure, marked=marked), marks.unit_label(measure), training=(measure,)
        )
        for title, measure in found.items()
    }
    keys = [*head_marks.mark_keys(marked, lines=True), head_marks.others_key("other heads" if marked else "all heads")]
    bands = legends.evidence(found.values()) if marked else ""
    return panels.panels_figure(drawn, page, keys + ([legends.band_key(bands)] if bands else []), columns=2)


def _parts(measure: Measure | None, axes: tuple[str, ...] = HEADS) -> dict[str, Measure]:
    """By title, those that have these axes and a number."""
    if measure is None or PATCH not in measure.axes:
        return {}
    found = {title: measure.sel(**{PATCH: patch}) for patch, title in PATCHES.items()}
    return {title: part for title, part in found.items() if part.axes == axes and part.has_number}


def _as_rows(shown: Mapping[str, Measure], marked: Marked, page: Page) -> pd.DataFrame:
    looks = dict.fromkeys(np.ndindex(next(iter(shown.values())).values.shape), PLAIN) | dict(marked)
    axes = page.grid(len(shown), 2, 0.55 + 0.19 * len(looks), sharex="row", sharey="row")
    tables, nulls = [], marks.null_names(shown.values())
    for (title, measure), ax in zip(shown.items(), axes, strict=True):
        rows = [(head_marks.named(head, looks), measure.at(layer=head[0], head=head[1])) for head in looks]
        tables.append(marks.rows(rows, ax, title, nulls))
        marks.reference(ax, x=0)
        ax.set(title=title, xlabel=marks.unit_label(measure))
    page.legend([*head_marks.mark_keys(marked), *legends.keys(shown.values())])
    return marks.together(tables)


def _as_maps(shown: Mapping[str, Measure], marked: Marked, page: Page) -> pd.DataFrame:
    height = 0.9 + head_marks.map_height(len(next(iter(shown.values())).values))
    tables = []
    for (title, measure), ax in zip(shown.items(), page.grid(len(shown), 2, height), strict=True):
        tables.append(head_marks.head_map(measure, ax, title, marked, middle=0.0, least=LEAST))
        ax.set_title(title)
        page.color_bar([ax], f"excess, {marks.unit_label(measure)}")
    page.legend(head_marks.mark_keys(marked))
    return marks.together(tables)
