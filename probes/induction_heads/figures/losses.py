"""The loss of every token of a sequence that repeats."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pandas as pd

from ...drawing import legends, marks
from ...drawing.marks import VERMILION, Look

if TYPE_CHECKING:
    from ...drawing.page import Page
    from ...findings import Findings

_REPEATED = Look("repeated", VERMILION, marker="")


def loss_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Loss of every token of sequences that repeat. Dotted: first token of a repeat. Band: 95 % interval. Grey: the
    same first repeat, followed by tokens that repeat nothing, or by the same tokens in another order.
    """
    measure = marks.last_step(findings.measures).get("loss_by_position")
    if measure is None or not marks.has_number(measure):
        return None
    (panel,) = page.chosen({"loss": measure})
    (ax,) = page.grid(1, 1, 1.9)
    tables = [marks.null_bands(measure, ax, panel, _REPEATED.label), marks.curve(measure, _REPEATED, ax, panel)]
    for start in _first_tokens(findings, len(measure.values)):
        marks.reference(ax, start)
    ax.set(xlabel="position of the token", ylabel=f"loss ({measure.unit})")
    band = legends.band_key(legends.evidence([measure]), VERMILION)
    page.legend([legends.line_key(_REPEATED), band, *legends.null_keys([measure])])
    return marks.together(tables)


def _first_tokens(findings: Findings, tokens: int) -> Sequence[int]:
    """Where repeats begin, at the longest period."""
    settings = findings.recipes["evaluation"].settings
    first, period = int(settings["bos"] is not None), max(settings["periods"])
    return range(first, tokens, period)
