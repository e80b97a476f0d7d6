"""What the figures share: a look for each verdict, titles of scores, and parts of measures as series."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING

from ...drawing import head_marks, marks
from ...drawing.marks import BLACK, BLUE, GREEN, OLIVE, ORANGE, PURPLE, SKY, VERMILION, Look
from ...findings import head_from, head_name
from ..names import GROUPS, MATCHING, READ_BY, UNNAMED, Verdict

if TYPE_CHECKING:
    from ...drawing.head_marks import Marked
    from ...drawing.page import Page
    from ...findings import Findings
    from ...measure import Measure

LOOKS = {
    verdict: Look(verdict.value, *look)
    for verdict, look in {
        Verdict.INDUCTION: (VERMILION, "o", "-"),
        Verdict.ANTI_INDUCTION: (BLUE, "v", "--"),
        Verdict.DUPLICATE_TOKEN: (ORANGE, "s", "--"),
        Verdict.PREVIOUS_TOKEN: (GREEN, "<", "-."),
        Verdict.CURRENT_TOKEN: (OLIVE, "D", ":"),
        Verdict.FIRST_TOKEN: (SKY, "^", "-."),
        Verdict.FIXED_OFFSET: (PURPLE, "X", ":"),
    }.items()
}
"""How heads of a verdict are drawn; those without any are not marked."""
WHOLE = Look("whole model", BLACK, "D", ":")
STRONGEST = Look(UNNAMED, BLACK, "P", "--")
ABLATION = {"zero": "zero ablation", "mean": "mean ablation"}
"""Titles by what replaces the output of ablated heads."""
COMPOSITION = dict(zip(READ_BY, ("Q-composition", "K-composition", "V-composition"), strict=True))
SCORES = {
    "prefix_matching_score": "prefix matching",
    "excess": "excess over controls",
    "ov_copying_score": "OV copying",
    "direct_logit_attribution": "direct effect",
    "previous_token_score": "previous token",
    "duplicate_token_score": "duplicate token",
    "current_token_score": "current token",
    "first_token_score": "first token",
}
"""Scores of heads, and short titles."""


def marked_heads(findings: Findings, *verdicts: Verdict) -> Marked:
    """The heads with one of these verdicts (default: any that has a look), verdict by verdict."""
    known = {head_from(name): verdict for name, verdict in findings.heads.items()}
    return {
        head: LOOKS[wanted]
        for wanted in verdicts or LOOKS
        for head, verdict in sorted(known.items())
        if verdict == wanted
    }


def group_series(measure: Measure | None, label: str = "all {} heads") -> dict[Look, Measure]:
    """A measure with the axis `group`, group by group, where it has a number."""
    if measure is None or "group" not in measure.axes:
        return {}
    looks = {str(verdict): replace(LOOKS[verdict], label=label.format(verdict)) for verdict in GROUPS}
    looks[UNNAMED] = replace(STRONGEST, label=label.replace("all ", "").format(UNNAMED))
    series = {look: measure.sel(group=name) for name, look in looks.items() if name in measure.labels("group")}
    return {look: group for look, group in series.items() if marks.has_number(group)}


def selected(measures: Mapping[str, Measure], name: str, **labels: str) -> Measure | None:
    """A measure at some labels; None where it is absent or has no such axis."""
    measure = measures.get(name)
    return measure.sel(**labels) if measure is not None and set(labels) <= set(measure.axes) else None


def composing_pairs(findings: Findings) -> dict[Look, dict[str, int]]:
    """Every previous-token head with every induction head of a later layer: how the pair is drawn, and where it is."""
    pairs = {}
    matching = marked_heads(findings, *MATCHING)
    for later in matching:
        for earlier in marked_heads(findings, Verdict.PREVIOUS_TOKEN):
            if earlier[0] < later[0]:
                look = head_marks.named(later, matching)
                cell = {"earlier_layer": earlier[0], "earlier_head": earlier[1], "layer": later[0], "head": later[1]}
                pairs[replace(look, label=f"{head_name(earlier)} → {look.label}")] = cell
    return pairs


def write_how_many(page: Page, shown: int, known: int, what: str) -> None:
    """Above the figure, where not all are shown."""
    if shown < known:
        page.heading(f"the first {shown} of {known} {what}")
