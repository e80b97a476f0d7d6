"""Ablated heads and groups: how much the loss rises, and the in-context learning score that is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ...drawing import head_marks, legends, marks
from ...drawing.head_marks import MOST_ROWS
from ...drawing.marks import Look
from ...findings import Head
from ...measure import Measure
from .looks import ABLATION, WHOLE, group_series, marked_heads, selected

if TYPE_CHECKING:
    from ...drawing.head_marks import Marked
    from ...drawing.page import Page
    from ...findings import Findings

Rows = list[tuple[Look, Measure]]
RISE, LEFT = "rise of the loss", "score left"
MOST_OTHERS = 5
"""Heads without a verdict that are shown, those whose ablation raises the loss most."""


def ablation_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Loss: how much the loss on the second repeat rises when all heads of a verdict, or one head, are ablated. Score:
    the in-context learning score that is left. Groups were chosen on other sequences than those they are tested on.
    Bars: 95 % intervals. Grey: as many random heads of the same layers. Dotted line: no effect.
    """
    measures, marked = marks.last_step(findings.measures), marked_heads(findings)
    shown = _shown_alone(selected(measures, "ablation", replacement="zero"), marked)
    rises = {
        f"{RISE}, {title}": _rises(measures, marked, shown, replacement) for replacement, title in ABLATION.items()
    }
    left = {f"{LEFT}, {title}": _left(measures, replacement) for replacement, title in ABLATION.items()}
    if not all([*rises.values(), *left.values()]):
        return None
    panels = page.chosen(rises | left)
    heights = [0.5 + 0.19 * len(rows) for rows in panels.values()]
    axes = page.grid(len(panels), len(ABLATION), heights, sharex="row", sharey="row")
    tables = []
    for (title, rows), ax in zip(panels.items(), axes, strict=True):
        tables.append(marks.rows(rows, ax, panel=title))
        ax.set(title=title, xlabel="nat")
        marks.reference(ax, x=0)
    drawn = [measure for rows in panels.values() for _, measure in rows]
    alone = {head: look for head, look in marked.items() if head in shown} if panels.keys() & rises.keys() else {}
    page.legend([*head_marks.mark_keys(alone), *legends.keys(drawn)])
    return marks.together(tables)


def _shown_alone(single: Measure | None, marked: Marked) -> list[Head]:
    """Of the heads that were ablated alone, those with a verdict and a few others, the largest rise first."""
    if single is None or not marks.has_number(single):
        return []
    known = [(int(layer), int(head)) for layer, head in np.argwhere(np.isfinite(single.values))]
    ordered = sorted(known, key=lambda head: -single.values[head])
    with_verdict = [head for head in ordered if head in marked]
    others = [head for head in ordered if head not in marked]
    kept = {*with_verdict[:MOST_ROWS], *others[:MOST_OTHERS]}
    return [head for head in ordered if head in kept]


def _rises(measures: Mapping[str, Measure], marked: Marked, shown: Sequence[Head], replacement: str) -> Rows:
    groups = group_series(selected(measures, "group_ablation", replacement=replacement))
    alone = selected(measures, "ablation", replacement=replacement)
    if alone is None:
        return list(groups.items())
    heads = [(head_marks.named(head, marked), alone.at(layer=head[0], head=head[1])) for head in shown]
    return [*groups.items(), *heads]


def _left(measures: Mapping[str, Measure], replacement: str) -> Rows:
    """In-context learning score of the whole model, and without each group."""
    whole = measures.get("in_context_learning_score")
    if whole is None or not marks.has_number(whole):
        return []
    without = selected(measures, "in_context_learning_without", replacement=replacement)
    groups = group_series(without, "without {} heads")
    return [(WHOLE, replace(whole, nulls={}, no_nulls="those of the groups are drawn")), *groups.items()]
