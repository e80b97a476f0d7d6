"""The figure of deep features over training, for several checkpoints of one recipe: the paper's Figure 4."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from ...comparing.by_candidate import CANDIDATE, MODEL
from ...drawing import panels
from ..names import ATTENDED_GD, FEATURE_GD, TWIN, ZERO
from .looks import LOOKS

if TYPE_CHECKING:
    from ...drawing.page import Page
    from ...findings import Findings

SHOWN = {
    "loss": ("loss", (MODEL, TWIN, FEATURE_GD, ATTENDED_GD, ZERO)),
    "predictions": ("prediction_difference", (TWIN, FEATURE_GD, ATTENDED_GD)),
    "slopes": ("slope_agreement", (TWIN, FEATURE_GD, ATTENDED_GD)),
    "not explained": ("unexplained_share", (FEATURE_GD, ATTENDED_GD)),
}
LOGARITHMIC = ("loss", "not explained")


def trajectory_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Over training: the loss, beside that of the twin, of gradient descent on the features of the embedding as they
    stand and as attention reads them, and of answering zero; the mean distance of answers from the twin's and from
    descent's; the agreement of slopes with theirs; and the share of what attention adds that a step does not explain.
    Bands are 95 % intervals, thin lines single seeds. Nulls in grey, or hatched in the colour of their series.
    """
    measures = findings.measures
    if "step" not in measures["loss"].axes:
        return None
    drawn = {
        title: {LOOKS[name]: measures[metric].sel(**{CANDIDATE: name}) for name in names}
        for title, (metric, names) in SHOWN.items()
    }
    return panels.curves_figure(drawn, page, columns=2, logarithmic=LOGARITHMIC)
