"""Figures over training: how a layer comes near to one gradient step, and leaves it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

import pandas as pd

from ...comparing.by_candidate import CANDIDATE
from ...drawing import panels
from ..names import COPY, GAUSS_NEWTON, GD, SMOOTHER
from .looks import CANDIDATE_LOOKS, TRAINED

if TYPE_CHECKING:
    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

COSINES = (GD.name, "gd_2", "gd_4", "gd_8", GAUSS_NEWTON.name, SMOOTHER.name)
SHARES = (SMOOTHER.name, COPY.name)
WEIGHTS = {
    "KQ_identity_distance": "$W_{KQ}$: distance from $s$ times $I$",
    "KQ_off_diagonal": "$W_{KQ}$: off the diagonal",
    "KQ_diagonal": "$W_{KQ}$: sharpness $s$",
    "V_on_b": "$w_V$ on $b$",
    "V_on_A": "$w_V$ on $A$: norm",
    "learning_rate_written": "learning rate written",
    "weight_distance_gd": "distance from one step",
    "barrier": "barrier to one step",
}


def trajectory_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Over training: the loss over that of one tuned gradient step; the cosine of the sensitivities to each candidate;
    and the share of the predictions that a candidate leaves unexplained. Bands are 95 % intervals, thin lines single
    seeds. Grey: untrained layers, and the model on b in random order.
    """
    measures = findings.measures
    if not _over_steps(measures):
        return None
    cosines = {f"cosine: {_label(name)}": _of(measures["cosine"], name) for name in COSINES}
    shares = {f"unexplained: {_label(name)}": _of(measures["unexplained_share"], name) for name in SHARES}
    drawn = {"loss": {TRAINED: measures["loss_over_gd"]}, **cosines, **shares}
    shown = panels.curves_panels(drawn, logarithmic=["loss", *shares])
    labels = dict.fromkeys(shares, "share of variation") | {"loss": "loss / that of one step"}
    return panels.panels_figure(
        {title: replace(panel, label=labels.get(title, panel.label)) for title, panel in shown.items()}, page
    )


def _label(name: str) -> str:
    return CANDIDATE_LOOKS[name].label


def _of(measure: Measure, name: str) -> panels.Curves:
    return {TRAINED: measure.sel(**{CANDIDATE: name})}


def trajectory_weights_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """The weights over training: how near the block of W_KQ between tokens is to a multiple of the identity, its
    sharpness s, the value vector, and the distance from the construction of one gradient step. Bands are 95 %
    intervals, thin lines single seeds. Grey: untrained layers, and the block with its queries rotated.
    """
    measures = findings.measures
    if not _over_steps(measures):
        return None
    drawn = {title: {TRAINED: measures[name]} for name, title in WEIGHTS.items()}
    return panels.curves_figure(drawn, page, logarithmic=[WEIGHTS["KQ_off_diagonal"]])


def _over_steps(measures: Mapping[str, Measure]) -> bool:
    return "loss" in measures and "step" in measures["loss"].axes
