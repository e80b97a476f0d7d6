"""Figures of one step: accuracies, and the agreement of each pair, beside their nulls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from ...drawing import legends, marks
from .. import names
from .looks import AGREEMENT, QUANTITIES, pairs, quantities, with_number

if TYPE_CHECKING:
    import pandas as pd

    from ...drawing.marks import Look
    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

WIDEST, ROW = 4.5, 0.24
"""Inches of a figure, and of a row."""


def accuracies_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Share of the targets that are right. Task: the model's answer. Attention: the source with the largest mean
    attention over heads. KTIW, knowledge of translating individual words: the answer to a source that all heads attend
    to. Bars are 95 % intervals. Grey: chance.
    """
    found = quantities(marks.last_step(findings.measures))
    if names.ATTENTION not in found:  # a language model: which source is the right one, nobody knows
        return None
    return _rows("accuracy", [(QUANTITIES[name], measure) for name, measure in found.items()], page)


def agreement_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Agreement of two numbers of each source: how often the second is among the 5 % largest where the first is
    largest. β: how far a source alone would answer right; the twin was trained with uniform attention. Bars are 95 %
    intervals. Grey: the second number dealt out to the sources anew, or that of another target.
    """
    found = pairs(marks.last_step(findings.measures).get("agreement"))
    if not with_number(found):
        return None
    return _rows("agreement", [(replace(AGREEMENT, label=label), part) for label, part in found.items()], page)


def _rows(title: str, entries: Sequence[tuple[Look, Measure]], page: Page) -> pd.DataFrame:
    """A row each, on an axis from 0 to 1, where t-intervals of shares are cut."""
    held = [measure for _, measure in entries if marks.has_number(measure)]
    page.chosen({title: None})
    (ax,) = page.grid(1, 1, 0.45 + ROW * len(entries), width=min(page.style.page, WIDEST))
    table = marks.rows(entries, ax, title, marks.null_names(held))
    ax.set(xlim=(-0.02, 1.02), xlabel=marks.unit_label(held[0]), title=title)
    page.legend(legends.keys(held))
    return table
