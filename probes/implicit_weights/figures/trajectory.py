"""The figure of implicit-weights over training."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pandas as pd

from ...drawing import panels
from ..names import CONTEXT, LAYER, PLACE
from .looks import MODEL, RULE_LOOKS, layer_looks, rules_of

if TYPE_CHECKING:
    from ...drawing.marks import Look
    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

FURTHEST = 1.5


def trajectory_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Over training: how far the output's linear model is from each rule, fitted again at every step (nulls are in the
    figure of distances); the loss after each layer; how much of what a layer adds is no step along the gradient; and
    the share of the answer's change that descent predicts where another task's model is put into the context. Bands are
    95 % intervals, thin lines single seeds. Distances above 1.5 are not drawn.
    """
    measures = findings.measures
    if "loss" not in measures or "step" not in measures["loss"].axes:
        return None
    rules = {RULE_LOOKS[name]: part.at(layer=-1) for name, part in rules_of(measures["weight_distance"]).items()}
    followed = measures["exchange_followed"].sel(**{PLACE: CONTEXT})
    drawn = {
        "output, distance from a rule": rules,
        "loss": _by_layer(measures["loss"]),
        "off the gradient": _by_layer(measures["layer_step_distance"]),
        "predicted by descent": {MODEL: followed.at(layer=0)} if LAYER in followed.axes else {},
    }
    table = panels.curves_figure(drawn, page, columns=2)
    for ax in page.figure.axes if page.ax is None else [page.ax]:
        if ax.get_title() in ("output, distance from a rule", "off the gradient"):
            ax.set_ylim(-0.03, min(ax.get_ylim()[1], FURTHEST))
    return table


def _by_layer(measure: Measure) -> dict[Look, Measure]:
    if LAYER not in measure.axes:
        return {}
    return {look: measure.at(layer=place) for place, look in layer_looks(measure).items()}
