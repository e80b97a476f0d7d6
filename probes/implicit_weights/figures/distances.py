"""Figures of how near each layer's model is to every rule, and of what each layer adds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ...comparing.verdicts import AGREES
from ...drawing import legends, marks, panels
from ..names import LAYER, OUTPUT
from .looks import MODEL, RULE_LOOKS, counted, from_one, left_out, rules_of, shown_layers

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

FURTHEST = 1.5
ROW = 0.17
"""Inches of a row."""


def distances_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """How far the linear model W after a layer is from that of each rule, fitted to it, relative to its own size: at 0
    the rule is the model, at 1 it is no nearer than W = 0. Dotted: up to there a rule agrees. In brackets: numbers of
    steps. Bars are 95 % intervals. Grey marks are untrained models, to which the rules were fitted again. Distances
    above 1.5 are not drawn.
    """
    measures = marks.last_step(findings.measures)
    rules = rules_of(measures["weight_distance"])
    if not rules:
        return None
    shown = page.chosen({name: place for place, name in shown_layers(measures["loss"]).items()})
    axes = page.grid(len(shown), 2, 0.75 + ROW * len(rules), least=2.4)
    tables = [
        _plot_layer(measures, rules, place, ax, name) for (name, place), ax in zip(shown.items(), axes, strict=True)
    ]
    page.legend(legends.keys(measure.at(layer=place) for measure in rules.values() for place in shown.values()))
    page.heading(left_out(measures["loss"]))
    return marks.together(tables)


def _plot_layer(
    measures: Mapping[str, Measure], rules: Mapping[str, Measure], place: int, ax: Axes, panel: str
) -> pd.DataFrame:
    held = {name: measure.at(layer=place) for name, measure in rules.items()}
    fitted = [
        (counted(name, measures, place), part if part.estimate <= FURTHEST else None)
        for name, part in held.items()
        if part.has_number
    ]
    table = marks.rows(fitted, ax, panel=panel)
    ax.set(title=panel, xlabel="relative distance of W", xlim=(-0.03, FURTHEST))
    marks.reference(ax, x=AGREES)
    return table


def layers_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Over the layers: how far the model is from each rule (nulls are in the figure of distances); its loss on the
    labels; how much of what a layer adds is no step along the gradient at the model before it, and at which learning
    rate that step is. Bands are 95 % intervals, grey untrained models. Distances above 1.5 are not drawn.
    """
    measures = marks.last_step(findings.measures)
    labels = measures["loss"].labels(LAYER) if "loss" in measures else ()
    if len(labels) < 2 or OUTPUT in labels:
        return None
    rules = rules_of(measures["weight_distance"])
    curves = {RULE_LOOKS[name]: _without_nulls(from_one(part)) for name, part in rules.items()}
    drawn = {
        "distance from a rule": curves,
        "loss": {MODEL: from_one(measures["loss"])},
        "off the gradient": _model(measures["layer_step_distance"]),
        "learning rate of the layer": _model(measures["layer_learning_rate"]),
    }
    table = panels.curves_figure(drawn, page, columns=2)
    _cut(page, ["distance from a rule", "off the gradient"])
    return table


def _model(measure: Measure) -> dict[marks.Look, Measure]:
    return {MODEL: from_one(measure)} if LAYER in measure.axes else {}


def _without_nulls(measure: Measure) -> Measure:
    """Of a rule, as far as it is drawn."""
    near = measure.values <= FURTHEST
    values, low, high = (np.where(near, array, np.nan) for array in (measure.values, *measure.interval))
    why = "the figure of distances holds them"
    return replace(measure, values=values, interval=(low, high), nulls={}, no_nulls=why, message=measure.message or why)


def _cut(page: Page, titles: Sequence[str]) -> None:
    """The range of distances that is drawn."""
    for ax in page.figure.axes if page.ax is None else [page.ax]:
        if ax.get_title() in titles:
            ax.set_ylim(-0.03, min(ax.get_ylim()[1], FURTHEST))
