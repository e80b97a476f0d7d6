"""Colours, markers and lines of accuracies, agreements, outcomes and heads, and parts of measures by pair."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...drawing.marks import BLACK, BLUE, GREEN, PURPLE, SKY, VERMILION, Look
from ...findings import head_from
from .. import names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ...drawing.head_marks import Marked
    from ...findings import Findings
    from ...measure import Measure

_QUANTITIES = {names.KTIW: (BLUE, "s", "--"), names.ATTENTION: (VERMILION, "o", "-"), names.TASK: (GREEN, "D", "-.")}
QUANTITIES = {quantity: Look(names.QUANTITIES[quantity], *look) for quantity, look in _QUANTITIES.items()}
AGREEMENT = Look("agreement", PURPLE, "o", "-")
PUSH = r"push $\to$ change of attention"
LEARNED = Look("learned", BLACK, "o", "-")
LEAD = Look("lead of KTIW", BLACK, "o", "-")
OUTCOMES = {
    names.BY_ATTENTION: Look(names.BY_ATTENTION, GREEN, "o", "-"),
    names.ANTI_ATTENTION: Look(names.ANTI_ATTENTION, VERMILION, "v", "--"),
    names.OTHERWISE: Look(names.OTHERWISE, SKY, "s", "-."),
    names.NOT_LEARNED: Look(names.NOT_LEARNED, BLACK, "X", ":"),
}
ORDERS = {
    names.KTIW_FIRST: "KTIW first",
    names.ATTENTION_FIRST: "attention first",
    names.TOGETHER: "together",
    names.NEITHER: "neither",
}
VERDICTS = {
    names.FOLLOWS: Look(names.FOLLOWS, VERMILION, "o", "-"),
    names.AGAINST: Look(names.AGAINST, BLUE, "v", "--"),
}


def quantities(measures: Mapping[str, Measure]) -> dict[str, Measure]:
    """The accuracies that have a number, by quantity."""
    found = {quantity: measures.get(f"{quantity}_accuracy") for quantity in QUANTITIES}
    return {quantity: measure for quantity, measure in found.items() if measure is not None and measure.has_number}


def pairs(measure: Measure | None) -> dict[str, Measure]:
    """The parts of a measure by the label of the pair, in the order of figures; {} where there are none."""
    if measure is None or names.PAIR not in measure.axes:
        return {}
    held = measure.labels(names.PAIR)
    return {pair.label: measure.sel(**{names.PAIR: name}) for name, pair in names.PAIRS.items() if name in held}


def with_number(parts: Mapping[str, Measure]) -> dict[str, Measure]:
    return {name: part for name, part in parts.items() if part.has_number}


def marked_heads(findings: Findings) -> Marked:
    """The heads with a verdict that has a look, verdict by verdict."""
    return {
        head: look
        for verdict, look in VERDICTS.items()
        for head in sorted(head_from(name) for name, found in findings.heads.items() if found == verdict)
    }
