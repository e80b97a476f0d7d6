"""Maps of layers by heads: scores, attention, and the user's own text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from ...drawing import head_marks, marks
from .looks import marked_heads

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ...drawing.page import Page
    from ...findings import Findings


@dataclass(frozen=True)
class Map:
    """How one measure is drawn.

    limit:   how far the colours go; None: to the largest value
    middle:  what the colours diverge from; None: they do not
    """

    title: str
    limit: float | None = 1.0
    middle: float | None = None


SCORES = {
    "prefix_matching_score": Map("prefix matching"),
    "excess": Map("excess over controls", middle=0.0),
    "ov_copying_score": Map("OV copying", middle=0.0),
    "direct_logit_attribution": Map("direct effect on the repeated token", limit=None, middle=0.0),
}
ATTENTION = {
    "previous_token_score": Map("to the previous token"),
    "duplicate_token_score": Map("to earlier occurrences"),
    "current_token_score": Map("to the current token"),
    "first_token_score": Map("to the first token"),
}
TEXT = {
    "text_matching_score": Map("prefix matching in text"),
    "text_matching_excess": Map("excess over the same offsets", middle=0.0),
    "text_duplicate_score": Map("to earlier occurrences in text"),
    "text_duplicate_excess": Map("excess over the same offsets", middle=0.0),
}


def heads_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Scores of every head. Prefix matching: attention to the tokens that followed earlier occurrences of the current
    token. Excess: prefix matching minus the larger of its controls. OV copying: whether the head raises the logits of
    tokens it attends to (eigenvalue score). Direct effect: what the head adds to the logit of the repeated token.
    Symbols: verdicts.
    """
    return _maps(SCORES, findings, page)


def attention_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Mean attention of every head to the previous token, to earlier occurrences of the current token, to the current
    token itself, and to the first token. Symbols: verdicts.
    """
    return _maps(ATTENTION, findings, page)


def text_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Attention of every head on the user's own text: to the tokens that followed earlier occurrences of the current
    token, and to these occurrences. Excess: beyond attention to the same offsets where there is no match. Symbols:
    verdicts.
    """
    return _maps(TEXT, findings, page)


def headline(findings: Findings, ax: Axes) -> pd.DataFrame:
    """The excess of every head's prefix matching over its controls, with the symbols of the verdicts."""
    measure, drawn, marked = marks.last_step(findings.measures)["excess"], SCORES["excess"], marked_heads(findings)
    table = head_marks.head_map(measure, ax, drawn.title, marked, drawn.limit, drawn.middle)
    head_marks.color_bar([ax], f"{drawn.title} ({marks.unit_label(measure)})")
    if keys := head_marks.mark_keys(marked):
        ax.legend(handles=keys, fontsize="small", loc="upper left", bbox_to_anchor=(1, 1))
    return table


def _maps(panels: Mapping[str, Map], findings: Findings, page: Page) -> pd.DataFrame | None:
    """Maps two by two, those that the measures hold; one bar of colours where all share them."""
    measures, marked = marks.last_step(findings.measures), marked_heads(findings)
    found = {name: measures[name] for name in panels if name in measures}
    layers = [len(measure.values) for measure in found.values() if marks.has_number(measure)]
    if not layers:
        return None
    shared = len({(panels[name].limit, panels[name].middle, measure.unit) for name, measure in found.items()}) == 1
    n_rows, tall = -(-len(found) // 2), head_marks.map_height(max(layers))
    if len(layers) < len(found):
        tall = max(tall, 1.0)  # room for words
    axes = page.grid(n_rows, 2, 0.4 + n_rows * (tall + (0.5 if shared else 0.9)) + 0.5 * shared)
    tables = []
    for (name, measure), ax in zip(found.items(), axes, strict=False):
        drawn = panels[name]
        tables.append(head_marks.head_map(measure, ax, drawn.title, marked, drawn.limit, drawn.middle))
        ax.set_title(drawn.title)
        if not shared:
            head_marks.color_bar([ax], marks.unit_label(measure))
    for ax in axes[len(found) :]:
        ax.set_axis_off()
    if shared:
        head_marks.color_bar(axes, marks.unit_label(next(iter(found.values()))))
    if keys := head_marks.mark_keys(marked):
        page.legend(keys)
    return marks.together(tables)
