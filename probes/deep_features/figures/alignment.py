"""The main figure: losses, and how far each candidate is from the model, as rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...comparing.by_candidate import CANDIDATE, MODEL
from ...drawing import marks, scales
from ...drawing.row_panels import column_of_rows
from ..names import ATTENDED_GD, EMBEDDING, FEATURE_GD, FEATURE_RIDGE, TWIN, ZERO
from .looks import LOOKS

if TYPE_CHECKING:
    import pandas as pd

    from ...drawing.page import Page
    from ...findings import Findings

PANELS = {
    "loss": ("loss", (MODEL, TWIN, FEATURE_GD, ATTENDED_GD, FEATURE_RIDGE, EMBEDDING, ZERO)),
    "not explained": ("unexplained_share", (FEATURE_GD, ATTENDED_GD)),
    "predictions": ("prediction_difference", (FEATURE_GD, ATTENDED_GD, FEATURE_RIDGE, TWIN)),
    "slopes": ("slope_agreement", (FEATURE_GD, ATTENDED_GD, FEATURE_RIDGE, TWIN)),
}
"""By title: a measure, and the candidates that are drawn."""
LOGARITHMIC = ("loss", "not explained")


def alignment_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Losses of the model and of its candidates; the share of what attention adds to the answers that a step does not
    explain; the mean distance of answers from the model's; and the agreement of slopes with its slopes. Candidates:
    gradient descent and ridge regression on the features of the model's own embedding, a step on labels with inner
    products as attention takes them, the answer read before attention, and the twin. Bars are 95 % intervals, grey
    marks nulls.
    """
    measures = marks.last_step(findings.measures)
    if not marks.has_number(measures["loss"].sel(**{CANDIDATE: MODEL})):
        return None
    panels = {
        title: {LOOKS[name]: measures[metric].sel(**{CANDIDATE: name}) for name in names}
        for title, (metric, names) in PANELS.items()
    }
    return column_of_rows(panels, page, dict.fromkeys(LOGARITHMIC, scales.log_scale))
