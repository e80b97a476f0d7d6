"""The figure of outliers: massive activations, the state at position 0, anisotropy and rogue dimensions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from ...drawing import marks, panels
from ...drawing.marks import BLACK, Look
from ..massive_dimensions import massive_dimensions, named_dimensions
from .looks import FIRST, RANKS, VERSIONS, Selection, first_and_later, selected

if TYPE_CHECKING:
    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

MOST_DIMENSIONS = 12
"""Massive dimensions that the title names."""


def outliers_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Layer by layer: largest |entry| of a window's state beside the median one; norm of the state at position 0 over
    the mean norm after it; anisotropy (mean cosine of two tokens' states), with and without rogue dimensions; and the
    share of the largest dimensions in it. Position 0 is left out unless named. Bands: 95 % intervals.
    """
    measures = marks.last_step(findings.measures)
    largest = "largest |entry|"
    wanted: dict[str, dict[Look, Selection]] = {
        largest: first_and_later("massive_activation", rank=0)
        | {Look("median |entry|", BLACK, "^", ":"): ("median_activation", {})},
        "norm at position 0 / later": {FIRST: ("state_peak", {})},
        "anisotropy": {
            look: ("anisotropy", {"dimensions": key, "position": "later"}) for key, look in VERSIONS.items()
        },
        "share of its largest dimensions": {look: ("rogue_share", {"rank": rank}) for rank, look in enumerate(RANKS)},
    }
    found = {title: selected(measures, of) for title, of in wanted.items()}
    table = panels.curves_figure(found, page, columns=2, logarithmic=[largest])
    if table is not None:
        page.heading(_massive(measures))
    return table


def _massive(measures: Mapping[str, Measure]) -> str:
    measure = measures.get("massive_dimension")
    if measure is None or not marks.has_number(measure):
        return "no massive activations"
    return f"massive activations: {named_dimensions(massive_dimensions(measure), MOST_DIMENSIONS)}"
