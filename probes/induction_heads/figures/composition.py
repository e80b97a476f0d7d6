"""How much of what previous-token heads write the keys of induction heads read."""

from __future__ import annotations

import textwrap
from typing import TYPE_CHECKING

import pandas as pd

from ...drawing import head_marks, legends, marks
from ...drawing.head_marks import MOST_ROWS
from ..names import KEYS, MATCHING
from .looks import COMPOSITION, composing_pairs, marked_heads, selected, write_how_many

if TYPE_CHECKING:
    from ...drawing.page import Page
    from ...findings import Findings


def composition_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """K-composition of each previous-token head with each induction head of a later layer: how much of what the first
    writes the keys of the second read. Largest first. Grey: the same pair with a random rotation between the two.
    """
    measure = selected(marks.last_step(findings.measures), "composition", read_by=KEYS)
    pairs = composing_pairs(findings)
    if measure is None or not marks.has_number(measure) or not pairs:
        return None
    found = sorted(((look, measure.at(**cell)) for look, cell in pairs.items()), key=lambda row: -row[1].estimate)
    shown = found[:MOST_ROWS]
    ((panel, _),) = page.chosen({COMPOSITION[KEYS]: shown}).items()
    (ax,) = page.grid(1, 1, 0.5 + 0.15 * len(shown))
    table = marks.rows(shown, ax, panel)
    ax.set_xlabel(f"{COMPOSITION[KEYS]} (ratio of norms)")
    ax.set_xlim(left=0)
    write_how_many(page, len(shown), len(pairs), "pairs")
    if not measure.nulls:
        ax.set_title(textwrap.fill(measure.no_nulls, int(14 * page.style.column)), style="italic")
    keys = head_marks.mark_keys(marked_heads(findings, *MATCHING))
    page.legend([*keys, *legends.keys(pair for _, pair in shown)])
    return table
