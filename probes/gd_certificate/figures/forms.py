"""Figures of what each layer is: how far from each form of gradient descent, and at which learning rate."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import pandas as pd

from ...drawing import legends, marks
from .looks import MOST_LAYERS, by_layer, first_layers, forms_of

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ...drawing.marks import Look
    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

ROW = 0.17
"""Inches of a row."""
RATES = {"learning rate": "learning_rate", "learning rate / N": "step_size", "γ": "gamma"}


def plot_forms(forms: Mapping[Look, Measure], ax: Axes, panel: str) -> pd.DataFrame:
    """One layer's distance from each form, one a row."""
    table = marks.rows(list(forms.items()), ax, panel=panel)
    ax.set(title=panel, xlabel="distance from the form", xlim=(-0.03, 1.03))
    marks.reference(ax, x=0)
    return table


def forms_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """How much of each layer's weights lies off its nearest step of a form of gradient descent, by Frobenius norm.
    Dotted: 0, where the layer is that form. Layers that share their weights are drawn once. Grey: untrained weights of
    the same shape.
    """
    measures = marks.last_step(findings.measures)
    forms, layers = forms_of(measures), by_layer(measures["step_size"])
    panels = page.chosen(
        {layer.label: {look: measure.at(layer=i) for look, measure in forms.items()} for i, layer in enumerate(layers)}
    )
    axes = page.grid(len(panels), 2, 0.75 + ROW * len(forms), least=2.4)
    tables = [plot_forms(of_layer, ax, title) for (title, of_layer), ax in zip(panels.items(), axes, strict=True)]
    page.legend(legends.keys(measure for of_layer in panels.values() for measure in of_layer.values()))
    page.heading(first_layers(measures))
    return marks.together(tables)


def plot_rates(rate: Measure, optimum: Measure | None, ax: Axes, panel: str) -> pd.DataFrame:
    """The number of every layer, one a row, and where the best one would be."""
    table = marks.rows(list(by_layer(rate).items()), ax, panel=panel)
    ax.set(title=panel, xlabel=rate.unit)
    if optimum is None or not marks.has_number(optimum):
        return table
    marks.reference(ax, optimum.estimate)
    best = {"panel": panel, "series": "optimum", "kind": "estimate", "at": "optimum", "value": optimum.estimate}
    return marks.together([table, marks.frame([best, {**best, "kind": "words", "message": optimum.no_nulls}])])


def rates_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """The learning rate of every layer, or η/N where N is not known, and γ of GD++ where what becomes of x can reach
    the output. Dotted: the best single step for the law of the tasks, which is known for one layer. Grey: untrained
    weights.
    """
    measures = marks.last_step(findings.measures)
    rate = "learning rate" if marks.has_number(measures["learning_rate"]) else "learning rate / N"
    titles = [rate, *(["γ"] if marks.has_number(measures["gamma"]) else [])]
    panels = page.chosen({title: measures[RATES[title]] for title in titles})
    rows = min(len(by_layer(measures["step_size"])), MOST_LAYERS)
    axes = page.grid(len(panels), 2, 0.75 + ROW * rows, least=1.6)
    optima = {"learning rate": measures["optimal_learning_rate"]}
    tables = [
        plot_rates(measure, optima.get(title), ax, title)
        for (title, measure), ax in zip(panels.items(), axes, strict=True)
    ]
    page.legend(legends.keys(one for measure in panels.values() for one in by_layer(measure).values()))
    page.heading(first_layers(measures))
    return marks.together(tables)
