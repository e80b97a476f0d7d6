"""The figure of gd-certificate over training: how a layer becomes a step."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from ...drawing import panels
from ...drawing.marks import VERMILION, Look
from ..names import BLOCK, FORM, OTHER, PART
from .looks import by_layer

if TYPE_CHECKING:
    from ...drawing.page import Page
    from ...findings import Findings

MODEL = Look("layer 1", VERMILION, "o", "-")


def trajectory_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Over training: how much of a layer's norm lies in other entries than those of gradient descent, and how much is
    not gradient descent; the learning rate (or that over N) and γ; and for one layer the distance from the best step,
    and the expected loss above the least. Grey: untrained weights.
    """
    measures = findings.measures
    if "step" not in measures["step_size"].axes:
        return None
    rate = "learning_rate" if measures["learning_rate"].has_number else "step_size"
    drawn = {
        "other entries": by_layer(measures["block_share"].sel(**{BLOCK: OTHER})),
        "off gradient descent": by_layer(measures["form_distance"].sel(**{FORM: "gd"})),
        "learning rate": by_layer(measures[rate]),
        "γ": by_layer(measures["gamma"]),
        "distance from the optimum": {MODEL: measures["optimum_distance"]},
        "excess loss of the step": {MODEL: measures["excess_loss"].sel(**{PART: "step"})},
    }
    return panels.curves_figure(drawn, page, logarithmic=["excess loss of the step"])
