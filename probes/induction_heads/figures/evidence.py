"""The evidence for heads with a verdict: the scores behind it, and how many tokens back they attend."""

from __future__ import annotations

from dataclasses import replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ...drawing import head_marks, legends, marks
from ...drawing.head_marks import MOST_ROWS
from .looks import SCORES, marked_heads, write_how_many
from .maps import SCORES as OF_VERDICTS

if TYPE_CHECKING:
    from ...drawing.head_marks import Marked
    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure


def _first(marked: Marked) -> Marked:
    """As many marked heads as have room, one a row."""
    return dict(islice(marked.items(), MOST_ROWS))


def evidence_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Scores behind the verdict of each head that has one. Bars: 95 % intervals. Grey: the same scores for even
    attention, for sequences without repeats, and for heads with permuted weights. Dotted line: a score of 0.
    """
    measures, marked = marks.last_step(findings.measures), marked_heads(findings)
    found = {name: measures[name] for name in OF_VERDICTS if marks.has_number(measures.get(name))}
    if not found or not marked:
        return None
    shown, panels = _first(marked), page.chosen({SCORES[name]: measure for name, measure in found.items()})
    axes = page.grid(len(panels), 4, 0.5 + 0.19 * len(shown), least=1.3, sharey="row")
    tables, nulls = [], marks.null_names(found.values())
    for (title, measure), ax in zip(panels.items(), axes, strict=True):
        rows = [(head_marks.named(head, marked), measure.at(layer=head[0], head=head[1])) for head in shown]
        tables.append(marks.rows(rows, ax, title, nulls))
        marks.reference(ax, x=0)
        ax.set(title=title, xlabel=marks.unit_label(measure))
    write_how_many(page, len(shown), len(marked), "heads with a verdict")
    page.legend([*head_marks.mark_keys(shown), *legends.keys(panels.values())])
    return marks.together(tables)


def offsets_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Mean attention of each head with a verdict by how many tokens back it goes, for each period S, from the second
    repeat on. An induction head attends S - 1 tokens back at every S, a duplicate-token head S tokens back.
    """
    measure, marked = marks.last_step(findings.measures).get("attention_by_offset"), marked_heads(findings)
    if measure is None or not marks.has_number(measure) or not marked:
        return None
    shown, periods = _first(marked), measure.labels("period")
    panels = page.chosen({f"$S$ = {period}": _own_offsets(measure.sel(period=period)) for period in periods})
    axes = page.grid(len(panels), 3, 0.9 + 0.14 * len(shown), sharey="row")
    tables = []
    for (title, of_period), ax in zip(panels.items(), axes, strict=True):
        tables.append(head_marks.offset_map(of_period, ax, title, shown))
        ax.set_title(title)
    page.color_bar(axes, measure.unit)
    write_how_many(page, len(shown), len(marked), "heads with a verdict")
    page.legend(head_marks.mark_keys(shown))
    return marks.together(tables)


def _own_offsets(measure: Measure) -> Measure:
    """Attention at one period without the offsets that belong to other periods only, where it is NaN."""
    own = np.asarray(np.isfinite(measure.values).any(axis=(0, 1)))
    low, high = measure.interval
    labels = tuple(label for label, held in zip(measure.labels("offset"), own, strict=True) if held)
    return replace(
        measure,
        values=measure.values[..., own],
        interval=(low[..., own], high[..., own]),
        coords={"offset": labels},
        nulls={name: samples[..., own] for name, samples in measure.nulls.items()},
    )
