"""Figures away from the training tasks, and of many more steps than the model has layers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import pandas as pd
from matplotlib.ticker import MaxNLocator

from ...drawing import marks
from ..names import CANDIDATE
from .looks import LOSS, looks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ...drawing.marks import Look
    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

SHIFTS = {
    "input_scale": ("input scale", "input range", "input_range"),
    "weight_scale": ("weight scale", "weight scale", "weight_scale"),
    "noisy_labels": ("noisy labels", "random context labels", ""),
    "other_distributions": ("other distributions", "norm of the inputs", ""),
    "other_distributions_weight_scale": ("other distributions", "weight scale", "weight_scale"),
}
"""Tests away from training: title, x axis, and the setting of the recipe that is its value in training."""
_MARKERS = 8  # of a curve


def plot_curves(test: str, measures: Mapping[str, Measure], ax: Axes) -> pd.DataFrame:
    """The loss of the model and of the constructed ones along one test, on a logarithmic axis."""
    found = curves(test, measures)
    numbers = {look: measure for look, measure in found.items() if marks.has_number(measure)}
    if not numbers:
        return marks.write_words(ax, next(iter(found.values())).message, test)
    tables = []
    for i, (look, measure) in enumerate(numbers.items()):
        every = max(1, len(measure.values) // _MARKERS)
        # markers take turns, so that a curve below another shows
        turn = (i * every // len(numbers), every)
        tables.append(marks.curve(measure, look, ax, panel=test.replace("_", " "), every=turn))
    if any((measure.values > 0).any() for measure in numbers.values()):
        marks.log_scale(ax, "y")
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=test == "noisy_labels"))
    return marks.together(tables)


def curves(test: str, measures: Mapping[str, Measure]) -> dict[Look, Measure]:
    """The curves of one test, by look."""
    measure = measures.get(f"loss_{test}")
    return {look: measure.sel(**{CANDIDATE: name}) for name, look in looks(measure).items()} if measure else {}


def ood_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Loss of the trained model and of the constructed ones away from the tasks of training. The dotted line is the
    value of training. Lines are means, bands 95 % intervals.
    """
    measures = marks.last_step(findings.measures)
    found = {test: held for test in SHIFTS if (held := curves(test, measures))}
    if not any(marks.has_number(measure) for held in found.values() for measure in held.values()):
        return None
    n_rows = -(-len(found) // 3)
    axes = page.grid(n_rows, min(len(found), 3), 0.5 + 1.45 * n_rows)
    recipe = findings.recipes.get("evaluation")
    trained_on = recipe.settings if recipe else {}
    tables = []
    for test, ax in zip(found, axes, strict=False):
        tables.append(plot_curves(test, measures, ax))
        title, x_label, setting = SHIFTS[test]
        ax.set(title=title, xlabel=x_label)
        if setting in trained_on:
            marks.reference(ax, x=trained_on[setting])
    for ax in axes[len(found) :]:
        ax.set_axis_off()
    page.figure.supylabel(LOSS, fontsize=8)
    _curve_legend(page, list(found.values()), "training value")
    return marks.together(tables)


def rollout_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Loss when the trained layer, and the gradient step that it is compared with, are applied again and again,
    dampened. Bands are 95 % intervals.
    """
    measures = marks.last_step(findings.measures)
    found = curves("rollout", measures)
    if not any(marks.has_number(measure) for measure in found.values()):
        return None
    (ax,) = page.grid(1, 1, 2.2, page.style.column)
    table = plot_curves("rollout", measures, ax)
    ax.set(xlabel="dampened step", ylabel=LOSS)
    _curve_legend(page, [found])
    return table


def _curve_legend(page: Page, panels: Sequence[Mapping[Look, Measure]], line: str = "") -> None:
    drawn = [(look, measure) for panel in panels for look, measure in panel.items() if marks.has_number(measure)]
    bands = marks.evidence(measure for _, measure in drawn)
    page.legend([
        *map(marks.line_key, dict(drawn)),
        *([marks.band_key(bands)] if bands else []),
        *([marks.reference_key(line)] if line else []),
    ])  # fmt: skip
