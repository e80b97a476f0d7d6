"""The numbers that stand beside a verdict, in sentences: accuracies, distances of answers, and what papers report.

Of several rules those of one are told; the table has all.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from ..comparing.numbers import Number, number, rounded
from ..measure import Measure
from .names import (
    ACCURACY,
    ANOTHER_ORDER,
    AOU,
    BETWEEN,
    CHANCE,
    CONTRAST,
    DISTANCE,
    ENDPOINT,
    FLOORS,
    IN_CONTEXT,
    MARGIN,
    PLANTED,
    RULE,
    SHUFFLED,
    TITLES,
    WAY,
    ZERO_SHOT,
    Rule,
)

_PARTS = {
    ZERO_SHOT: "zero-shot",
    IN_CONTEXT: "in context",
    SHUFFLED: "in context with shuffled labels",
    **{rule: f"after {title}" for rule, title in TITLES.items()},
    "other": "another task",
    "random weights": "random weights",
    "third rate": "a third of the rate",
    "adam": "Adam",
    "shuffled": "shuffled labels",
    ENDPOINT: "a random vector",
    ANOTHER_ORDER: "two orders in context",
}
"""What a number belongs to, as sentences say it."""


def evidence_sentences(measures: Mapping[str, Measure], rule: Rule | None) -> Iterator[str]:
    """
    rule:  of which rule numbers are told; None: there is none
    """
    yield from _accuracies(measures)
    if rule is not None:
        yield from _distances(measures, rule)
        yield from _contrast(measures, rule)
        yield from _similarity(measures, rule)


def _accuracies(measures: Mapping[str, Measure]) -> Iterator[str]:
    found = list(_numbers(measures.get(ACCURACY), WAY, (ZERO_SHOT, IN_CONTEXT, SHUFFLED, *TITLES)))
    chance = measures.get(CHANCE)
    if found:
        beside = f"; chance is {rounded(chance.estimate)}" if chance is not None and chance.has_number else ""
        yield f"Accuracy among a task's labels: {', '.join(found)}{beside}."


def _distances(measures: Mapping[str, Measure], rule: Rule) -> Iterator[str]:
    distance = _of_rule(measures, DISTANCE, rule)
    told = _told(distance, IN_CONTEXT)
    if told is not None:
        beside = _beside(distance, "for comparison", ("other", ANOTHER_ORDER))
        yield f"Total variation between answers in context and after {TITLES[rule]}: {told}{beside}."


def _contrast(measures: Mapping[str, Measure], rule: Rule) -> Iterator[str]:
    contrast = _of_rule(measures, f"{CONTRAST}_mean", rule)
    told = _told(contrast, IN_CONTEXT)
    if told is not None:
        beside = _beside(contrast, "floors", FLOORS) + _beside(contrast, f"other runs of {TITLES[rule]}", PLANTED)
        yield f"Label-swap contrast with {TITLES[rule]}, mean over layers: {told}{beside}."


def _similarity(measures: Mapping[str, Measure], rule: Rule) -> Iterator[str]:
    """For readers of the papers that report it: it never decides."""
    similarity, margin = (_of_rule(measures, name, rule) for name in (f"{AOU}_mean", MARGIN))
    told = _told(similarity, "tuned")
    if told is None:
        return
    beside = _beside(similarity, "controls", ("shuffled", *FLOORS, ENDPOINT))
    yield f"SimAOU with {TITLES[rule]}, mean over layers: {told}{beside}."
    yield "SimAOU does not decide: independent endpoints far from zero-shot have 0.5 by construction."
    if margin is not None and margin.has_number:
        yield f"SimAOU minus that of the strongest control: {number(margin)}."


# -- parts of measures -------------------------------------------------------------------------------------------------


def _of_rule(measures: Mapping[str, Measure], name: str, rule: Rule) -> Measure | None:
    measure = measures.get(name)
    return None if measure is None or RULE not in measure.axes else measure.sel(**{RULE: rule})


def _told(measure: Measure | None, what: str) -> Number | None:
    """One part of what is compared; None where it has no number."""
    if measure is None or BETWEEN not in measure.axes or what not in measure.labels(BETWEEN):
        return None
    part = measure.sel(**{BETWEEN: what})
    return number(part) if part.has_number else None


def _beside(measure: Measure | None, words: str, among: Sequence[str]) -> str:
    """; floors: another task 0.01, random weights 0.02"""
    found = ", ".join(_numbers(measure, BETWEEN, among))
    return f"; {words}: {found}" if found else ""


def _numbers(measure: Measure | None, axis: str, among: Sequence[str]) -> Iterator[str]:
    """Those that have a number."""
    if measure is None or axis not in measure.axes:
        return
    for what in among:
        part = measure.sel(**{axis: what}) if what in measure.labels(axis) else None
        if part is not None and part.has_number:
            yield f"{_PARTS[what]} {rounded(part.estimate)}"
