"""Scores of heads and losses over training."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from ...drawing import head_marks, legends, marks, panels
from ...drawing.marks import BLACK, Look
from ..names import KEYS, ONSET
from .looks import ABLATION, COMPOSITION, SCORES, WHOLE, composing_pairs, group_series, marked_heads, selected

if TYPE_CHECKING:
    from matplotlib.artist import Artist

    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

FIRST, SECOND = Look("first repeat", BLACK, "s", "--"), Look("second repeat", BLACK, "o", "-")
MOST_PAIRS = 8
_ONSET = "induction heads appear"


def trajectory_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Scores of every head over training, and K-composition of previous-token heads with induction heads. Curves: heads
    with a verdict at the last step. Bands: 95 % intervals. Upright band: from the last checkpoint without an induction
    head to the first from which on all those of the last step are there, at least as strong. An axis that is not to
    scale has all checkpoints at equal distances.
    """
    measures, marked, drawn = _over_steps(findings), marked_heads(findings), {}
    for name, title in SCORES.items():
        if name in measures:
            draw = partial(head_marks.head_curves, measures[name], marked=marked)
            drawn[title] = panels.Panel(draw, marks.unit_label(measures[name]), training=(measures[name],))
    composition = selected(measures, "composition", read_by=KEYS)
    if composition is not None and (chosen := _largest_pairs(composition, findings)):
        draw = partial(head_marks.called_curves, composition, chosen=chosen, others="other pairs")
        drawn[COMPOSITION[KEYS]] = panels.Panel(draw, marks.unit_label(composition), training=(composition,))
    bands = legends.evidence(measures[name] for name in SCORES if name in measures)
    keys = [*head_marks.mark_keys(marked, lines=True), head_marks.others_key()]
    keys += [legends.band_key(bands)] if bands else []
    return _with_onset(drawn, findings, page, keys)


def losses_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Over training: loss on both repeats, accuracy on the second, rise of the loss when all heads of a verdict are
    ablated, and the in-context learning score that is left. Bands: 95 % intervals. Upright band: from the last
    checkpoint without an induction head to the first from which on all those of the last step are there, at least as
    strong. An axis that is not to scale has all checkpoints at equal distances.
    """
    measures = _over_steps(findings)
    drawn = {"loss": _present(measures, {FIRST: "loss_first_repeat", SECOND: "loss_second_repeat"})}
    for replacement, title in ABLATION.items():
        drawn[f"rise, {title}"] = group_series(selected(measures, "group_ablation", replacement=replacement))
    drawn["accuracy"] = _present(measures, {SECOND: "accuracy_second_repeat"})
    whole = _present(measures, {WHOLE: "in_context_learning_score"})
    for replacement, title in ABLATION.items():
        left = selected(measures, "in_context_learning_without", replacement=replacement)
        drawn[f"score, {title}"] = whole | group_series(left)
    return _with_onset(panels.curves_panels(drawn), findings, page, [])


def _with_onset(
    drawn: Mapping[str, panels.Panel], findings: Findings, page: Page, keys: list[Artist]
) -> pd.DataFrame | None:
    """Panels over training, with the steps marked between which induction heads appear."""
    measure = findings.measures.get(ONSET)
    if measure is None or not np.isfinite(measure.values).all():
        return panels.panels_figure(drawn, page, keys)
    start, end = (float(step) for step in measure.values)
    key = legends.span_key(f"{_ONSET}: steps {start:g} to {end:g}")
    return panels.panels_figure(panels.spanned(drawn, start, end, _ONSET), page, [*keys, key])


def _over_steps(findings: Findings) -> dict[str, Measure]:
    return {name: m for name, m in findings.measures.items() if m.axes[:1] == ("step",) and marks.has_number(m)}


def _present(measures: Mapping[str, Measure], names: Mapping[Look, str]) -> dict[Look, Measure]:
    return {look: measures[name] for look, name in names.items() if name in measures}


def _largest_pairs(measure: Measure, findings: Findings) -> dict[Look, dict[str, int]]:
    """Of the pairs, those that compose most at the last step."""
    last, pairs = measure.at(step=-1), composing_pairs(findings)
    ordered = sorted(pairs, key=lambda look: -last.at(**pairs[look]).estimate)
    return {look: pairs[look] for look in ordered[:MOST_PAIRS]}
