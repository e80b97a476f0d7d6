"""Figures of induction-heads over training: every score of every head, and what the model makes of repeats."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import pandas as pd

from ...drawing import head_marks, marks, panels
from ...drawing.marks import BLACK, Look

if TYPE_CHECKING:
    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

HEADS = {
    "prefix_matching_score": "prefix matching",
    "excess": "excess over controls",
    "ov_copying_score": "OV copying",
    "direct_logit_attribution": "direct effect",
    "previous_token_score": "previous token",
    "duplicate_token_score": "duplicate token",
    "current_token_score": "current token",
    "first_token_score": "first token",
}
"""Scores of heads, and titles."""
FIRST, SECOND = Look("first run", BLACK, "s", "--"), Look("second run", BLACK, "o", "-")
WHOLE = Look("whole model", BLACK, "D", ":")
KINDS = {"zero": "heads at zero", "mean": "heads at the mean"}
"""What the z of heads that are taken away is replaced by."""
MATCHING = ("induction", "anti-induction")
"""Verdicts of heads that find what followed."""
MOST_PAIRS = 8


def pairs(verdicts: Mapping[str, str]) -> dict[Look, dict[str, int]]:
    """Every previous-token head with every induction head of a later layer: how the pair is drawn, and where it is."""
    found = {}
    for later in head_marks.called(verdicts, *MATCHING):
        for earlier in head_marks.called(verdicts, "previous-token"):
            if earlier[0] < later[0]:
                of = head_marks.look(later, verdicts)
                cell = {"earlier_layer": earlier[0], "earlier_head": earlier[1], "layer": later[0], "head": later[1]}
                found[replace(of, label=f"{head_marks.name(earlier)} → {of.label}")] = cell
    return found


def groups(measure: Measure | None, label: str = "all {} heads") -> dict[Look, Measure]:
    """A measure with the axis "group", group by group, where it has a number."""
    if measure is None or "group" not in measure.axes:
        return {}
    named = [str(group) for group in measure.labels("group")]
    parts = {
        replace(look, label=label.format(look.label)): measure.at(group=named.index(verdict))
        for verdict, look in head_marks.VERDICTS.items()
        if verdict in named
    }
    return {look: part for look, part in parts.items() if marks.has_number(part)}


def trajectory_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Over training: scores of every head (curves: heads with a verdict at the last step), and K-composition of
    previous-token heads into induction heads. Bands: 95 % intervals.
    """
    measures, drawn = _over_steps(findings), {}
    for name, title in HEADS.items():
        if name in measures:
            draw = partial(head_marks.head_curves, measures[name], verdicts=findings.heads)
            drawn[title] = draw, marks.unit_label(measures[name])
    composition = measures.get("k_composition")
    if composition is not None and (chosen := _largest(composition, findings.heads)):
        draw = partial(head_marks.called_curves, composition, chosen=chosen, others="other pairs")
        drawn["K-composition"] = draw, marks.unit_label(composition)
    bands = marks.evidence(measures[name] for name in HEADS if name in measures)
    keys = [*head_marks.verdict_keys(findings.heads, lines=True), head_marks.others_key()]
    return panels.panels_figure(drawn, page, [*keys, *([marks.band_key(bands)] if bands else [])])


def losses_figure(findings: Findings, page: Page) -> pd.DataFrame | None:
    """Over training: loss of both runs, accuracy on the second, and what taking all heads of a verdict away does to the
    loss and to in-context learning (loss of the first run minus that of the second). Bands: 95 % intervals.
    """
    measures = _over_steps(findings)
    drawn = {
        "loss": _present(measures, {FIRST: "loss_first_repeat", SECOND: "loss_second_repeat"}),
        **{f"rise, {said}": groups(measures.get(f"group_ablation_{kind}")) for kind, said in KINDS.items()},
        "accuracy": _present(measures, {SECOND: "accuracy_second_repeat"}),
    }
    whole = _present(measures, {WHOLE: "in_context_learning_score"})
    for kind, said in KINDS.items():
        drawn[f"learning, {said}"] = whole | groups(measures.get(f"in_context_learning_without_{kind}"))
    return panels.curves_figure(drawn, page)


def _over_steps(findings: Findings) -> dict[str, Measure]:
    return {name: m for name, m in findings.measures.items() if m.axes[:1] == ("step",) and marks.has_number(m)}


def _present(measures: Mapping[str, Measure], names: Mapping[Look, str]) -> dict[Look, Measure]:
    return {look: measures[name] for look, name in names.items() if name in measures}


def _largest(measure: Measure, verdicts: Mapping[str, str]) -> dict[Look, dict[str, int]]:
    """Of the pairs, those that compose most at the last step."""
    last = measure.at(step=-1)
    chosen = pairs(verdicts)
    ordered = sorted(chosen, key=lambda look: -last.at(**chosen[look]).estimate)
    return {look: chosen[look] for look in ordered[:MOST_PAIRS]}
