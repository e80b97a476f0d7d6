"""Ablated heads and groups: how much the loss rises, and the in-context learning score that is left."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ...drawing import head_marks, marks
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
MOST_OTHERS = 5
"""Heads without a verdict that are shown, those whose ablation raises the loss most."""


def ablation_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Top: rise of the loss on the second repeat when all heads of a verdict, or one head, are ablated. Bottom:
    in-context learning score that is left. Groups were chosen on other sequences than those they are tested on. Bars:
    95 % intervals. Grey: as many random heads of the same layers.
    """
    measures, marked = marks.last_step(findings.measures), marked_heads(findings)
    shown = _shown_alone(selected(measures, "ablation", replacement="zero"), marked)
    rises = {replacement: _rises(measures, marked, shown, replacement) for replacement in ABLATION}
    left = {replacement: _left(measures, replacement) for replacement in ABLATION}
    heights = [len(rises["zero"]), len(left["zero"])]
    if not all(heights):
        return None
    keywords = {"sharex": "row", "sharey": "row", "height_ratios": [rows + 0.5 for rows in heights]}
    axes = page.grid(2, len(ABLATION), 1.6 + 0.19 * sum(heights), **keywords)
    tables = []
    for (replacement, title), above, below in zip(ABLATION.items(), axes[:2], axes[2:], strict=True):
        tables.append(marks.rows(rises[replacement], above, panel=f"rise, {title}"))
        tables.append(marks.rows(left[replacement], below, panel=f"left, {title}"))
        above.set(title=title, xlabel="rise of the loss (nat)")
        below.set_xlabel("in-context learning score (nat)")
        for ax in (above, below):
            marks.reference(ax, x=0)
    drawn = [measure for rows in (*rises.values(), *left.values()) for _, measure in rows]
    alone = {head: look for head, look in marked.items() if head in shown}
    page.legend([*head_marks.mark_keys(alone), *marks.keys(drawn)])
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
