"""Figures away from the training tasks, and of many more steps than the model has layers."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.ticker import MaxNLocator

from ...comparing.by_candidate import CANDIDATE
from ...drawing import legends, marks, panels, scales
from .looks import LOSS, looks

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from ...drawing.marks import Look
    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure


class Shift(NamedTuple):
    """A test away from training: what varies, and the setting of the recipe that is its value in training."""

    title: str
    x_label: str
    setting: str = ""


SHIFTS = {
    "input_scale": Shift("input scale", "input range", "input_range"),
    "weight_scale": Shift("weight scale", "weight scale", "weight_scale"),
    "noisy_labels": Shift("noisy labels", "random context labels"),
    "other_distributions": Shift("other distributions", "norm of the inputs"),
    "other_distributions_weight_scale": Shift("others, weight scale", "weight scale", "weight_scale"),
}
ROLLOUT = Shift("rollout", "step")
_MARKERS = 8  # of a curve


def plot_curves(found: Mapping[Look, Measure], shift: Shift, at: float | None, ax: Axes, panel: str) -> pd.DataFrame:
    """The loss of the model and of the constructed ones along one test, on a logarithmic axis; at: in training."""
    ax.set_xlabel(shift.x_label)
    numbers = {look: measure for look, measure in found.items() if marks.has_number(measure)}
    if not numbers:
        return marks.write_words(ax, next(iter(found.values())).message, panel)
    tables = [panels.null_curves(numbers, ax, panel)]
    for i, (look, measure) in enumerate(numbers.items()):
        every = max(1, len(measure.values) // _MARKERS)
        # markers take turns, so that a curve below another shows
        turn = (i * every // len(numbers), every)
        tables.append(marks.curve(measure, look, ax, panel=panel, every=turn))
    if any((measure.values > 0).any() for measure in numbers.values()):
        scales.log_scale(ax, "y")
    ax.xaxis.set_major_locator(MaxNLocator(5, integer=not shift.setting))
    if at is not None:
        marks.reference(ax, x=at)
    return marks.together(tables)


def curves(test: str, measures: Mapping[str, Measure]) -> dict[Look, Measure]:
    """The curves of one test, by look."""
    measure = measures.get(f"loss_{test}")
    return {look: measure.sel(**{CANDIDATE: name}) for name, look in looks(measure).items()} if measure else {}


def _panels(tests: Mapping[str, Shift], findings: Findings) -> dict[str, panels.Panel]:
    """A panel a test; none where no test has a number."""
    measures, recipe = marks.last_step(findings.measures), findings.recipes.get("evaluation")
    found = {test: held for test in tests if (held := curves(test, measures))}
    if not any(marks.has_number(measure) for held in found.values() for measure in held.values()):
        return {}
    shown = {}
    for test, held in found.items():
        numbers = {look: measure for look, measure in held.items() if marks.has_number(measure)}
        in_training = recipe.settings.get(tests[test].setting) if recipe else None
        draw = partial(plot_curves, held, tests[test], in_training)
        shown[tests[test].title] = panels.Panel(draw, LOSS, tuple(numbers), tuple(numbers.values()))
    return shown


def ood_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Loss of the trained model and of the constructed ones away from the tasks of training. Others: inputs of other
    distributions, by their norm and by the scale of the weights. The dotted line is the value of training. Lines are
    means, bands 95 % intervals.
    """
    return panels.panels_figure(_panels(SHIFTS, findings), page, [legends.reference_key("training value")])


def rollout_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Loss when the trained layer, and the gradient step that it is compared with, are applied again and again, each
    update dampened by a factor. Bands are 95 % intervals. A curve ends where the loss overflows.
    """
    found = curves("rollout", marks.last_step(findings.measures))
    numbers = {look: measure for look, measure in found.items() if marks.has_number(measure)}
    if not numbers:
        return None
    shown, words = {}, []
    for factor in next(iter(numbers.values())).labels("dampening"):
        at_factor = {look: measure.sel(dampening=factor) for look, measure in numbers.items()}
        title = f"dampening {factor:g}"
        draw = partial(plot_curves, at_factor, ROLLOUT, None)
        shown[title] = panels.Panel(draw, LOSS, tuple(at_factor), tuple(at_factor.values()))
        words += [_overflow(title, look, held) for look, held in at_factor.items() if np.isnan(held.values).any()]
    table = panels.panels_figure(shown, page)
    page.heading("; ".join(words))
    return table


def _overflow(title: str, look: Look, measure: Measure) -> str:
    """From which step on a curve has no number."""
    first = measure.labels("rollout_step")[int(np.isnan(measure.values).argmax())]
    return f"{title}: the loss of the {look.label} overflows from step {first} on"
