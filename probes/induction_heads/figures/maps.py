"""Maps of layers by heads: scores, attention, and the user's own text."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pandas as pd

from ...drawing import head_marks, marks
from .looks import marked_heads

if TYPE_CHECKING:
    from ...drawing.page import Page
    from ...findings import Findings


@dataclass(frozen=True)
class Map:
    """How one measure is drawn.

    middle:  what the colours diverge from; None: they do not
    least:   how far the colours go at least
    """

    title: str
    middle: float | None = None
    least: float = 0.1


SCORES = {
    "excess": Map("excess over controls", middle=0.0),
    "prefix_matching_score": Map("prefix matching"),
    "ov_copying_score": Map("OV copying", middle=0.0),
    "direct_logit_attribution": Map("direct effect on the repeated token", middle=0.0, least=0.0),
}
ATTENTION = {
    "previous_token_score": Map("to the previous token"),
    "duplicate_token_score": Map("to earlier occurrences"),
    "current_token_score": Map("to the current token"),
    "first_token_score": Map("to the first token"),
}
TEXT = {
    "text_matching_score": Map("prefix matching in text"),
    "text_matching_excess": Map("excess of prefix matching", middle=0.0),
    "text_duplicate_score": Map("to earlier occurrences in text"),
    "text_duplicate_excess": Map("excess, to earlier occurrences", middle=0.0),
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


def _maps(panels: Mapping[str, Map], findings: Findings, page: Page) -> pd.DataFrame | None:
    """Maps two by two, those that the measures hold."""
    measures, marked = marks.last_step(findings.measures), marked_heads(findings)
    found = {name: measures[name] for name in panels if name in measures}
    layers = [len(measure.values) for measure in found.values() if marks.has_number(measure)]
    if not layers:
        return None
    tall = head_marks.map_height(max(layers))
    if len(layers) < len(found):
        tall = max(tall, 1.0)  # room for words
    shown = page.chosen({panels[name].title: (panels[name], measure) for name, measure in found.items()})
    axes = page.grid(len(shown), 2, tall + 0.9)
    tables = []
    for (title, (drawn, measure)), ax in zip(shown.items(), axes, strict=True):
        tables.append(head_marks.head_map(measure, ax, title, marked, middle=drawn.middle, least=drawn.least))
        ax.set_title(title)
        page.color_bar([ax], marks.unit_label(measure))
    page.legend(head_marks.mark_keys(marked))
    return marks.together(tables)
