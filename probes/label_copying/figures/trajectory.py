"""The figure of copying over training, for several checkpoints of one recipe: the paper's Figure 5."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from ...comparing.by_candidate import CANDIDATE, MODEL
from ...drawing import panels
from ..names import GD, TO, WITHOUT_COPIES, ZERO
from .looks import LOSSES, SCORE, SENSITIVITIES

if TYPE_CHECKING:
    from ...drawing.page import Page
    from ...findings import Findings

SHOWN = (MODEL, GD, ZERO, WITHOUT_COPIES)


def trajectory_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Over training: the loss, beside one tuned step of gradient descent, answering zero, and the model without the
    labels that its first layer copies; the sensitivity of tokens after the first layer to themselves, to the next token
    and to the others; and the attention that x tokens pay their labels' tokens. Bands are 95 % intervals, thin lines
    single seeds. Grey: nulls.
    """
    measures = findings.measures
    if "step" not in measures["loss"].axes:
        return None
    drawn = {
        "loss": {LOSSES[name]: measures["loss"].sel(**{CANDIDATE: name}) for name in SHOWN},
        "sensitivity": {look: measures["copy_sensitivity"].sel(**{TO: k}) for k, look in SENSITIVITIES.items()},
        "attention to labels": {SCORE: measures["first_layer_score"]},
    }
    return panels.curves_figure(drawn, page, logarithmic=("loss",))
