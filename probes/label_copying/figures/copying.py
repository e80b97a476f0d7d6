"""The main figure: attention to labels, sensitivities and losses, as rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...comparing.by_candidate import CANDIDATE
from ...drawing import marks, scales
from ...drawing.row_panels import column_of_rows
from ..names import TO
from .looks import LOSSES, SCORE, SENSITIVITIES

if TYPE_CHECKING:
    import pandas as pd

    from ...drawing.page import Page
    from ...findings import Findings

LOSS, SENSITIVITY, ATTENTION = "loss", "sensitivity", "attention to labels"


def copying_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Attention that x tokens pay the token of their own label, by the head of the first layer that pays most; the
    sensitivity of tokens after the first layer to the tokens before it; and the loss of the model, of rules, and of the
    model with its first layer edited: without what x tokens read of their labels, without all other reading of labels,
    and without attention. Bars are 95 % intervals, grey marks nulls.
    """
    measures = marks.last_step(findings.measures)
    if not marks.has_number(measures["first_layer_score"]):
        return None
    sensitivities, losses = measures["copy_sensitivity"], measures["loss"]
    panels = {
        ATTENTION: {SCORE: measures["first_layer_score"]},
        SENSITIVITY: {look: sensitivities.sel(**{TO: kind}) for kind, look in SENSITIVITIES.items()},
        LOSS: {look: losses.sel(**{CANDIDATE: name}) for name, look in LOSSES.items()},
    }
    of_axes = {ATTENTION: scales.from_zero, SENSITIVITY: scales.from_zero, LOSS: scales.log_scale}
    return column_of_rows(panels, page, of_axes)
