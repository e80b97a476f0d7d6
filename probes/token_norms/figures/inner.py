"""The figure of the inner problem: what each block's write does to the loss of reading the stream out at once."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from ...drawing import marks, panels
from ...drawing.marks import BLACK, PURPLE, Look
from .looks import Selection, first_and_later, selected

if TYPE_CHECKING:
    from ...drawing.page import Page
    from ...findings import Findings

GAIN: dict[Look, Selection] = {
    Look("gain", BLACK, "o", "-"): ("step_gain", {"position": "later"}),
    Look("first-order prediction", PURPLE, "D", ":"): ("step_first_order", {"position": "later"}),
}


def inner_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Reading the residual stream out after every block: its loss; the cosine of the block's write and the negative
    gradient of that loss (a falling loss forces a positive step cosine: it is no evidence of an inner optimizer); the
    loss that the write saves, beside the first-order prediction (on an axis that is linear near 0 and logarithmic far
    from it); and, where the final norm leaves any, the part of the negative gradient that would lengthen the state.
    Bands: 95 % intervals.
    """
    measures = marks.last_step(findings.measures)
    found = {
        "inner loss": selected(measures, first_and_later("inner_loss")),
        "step cosine": selected(measures, first_and_later("step_cosine")),
        "gain of a block's write": selected(measures, GAIN),
        "radial push": selected(measures, first_and_later("radial_push")),
    }
    return panels.curves_figure(found, page, columns=2, signed=["gain of a block's write"])
