"""Measures of answers: means over tasks, and what verdicts compare, task by task."""

from __future__ import annotations

from collections.abc import Mapping

from ..measure import Measure, along, missing
from ..statistics.sample_measures import PerTask, task_measures
from .answers import PerTask as OfTasks
from .names import (
    ACCURACY,
    BETWEEN,
    BEYOND,
    DEMOS,
    DISTANCE,
    GAIN,
    GAIN_BY_LABELS,
    IN_CONTEXT,
    LEARNED,
    ORDER,
    PLANTED,
    RIVAL,
    RIVAL_AHEAD,
    RIVALS,
    RULE,
    SHUFFLED,
    WAY,
    ZERO_SHOT,
    Rule,
)

ITSELF = ("half run", *PLANTED)
"""Other runs of the same descent."""
_BESIDE = "zero-shot and shuffled labels stand beside it"
_FAR = "total variation"
Numbers = Mapping[str, OfTasks]


def behaviour_measures(
    accuracy: Numbers, apart: Mapping[Rule, Numbers], rivals: Numbers, order: Numbers, seed: int
) -> dict[str, Measure]:
    """
    accuracy:  among a task's labels, by ZERO_SHOT, IN_CONTEXT, SHUFFLED and rule
    apart:     what `distances` gives, by rule
    rivals:    total variation of rivals that learn nothing from answers in context
    order:     total variation between orders, by CLEAN and CONFLICTING
    """
    gains = {
        GAIN: accuracy[IN_CONTEXT] - accuracy[ZERO_SHOT],
        GAIN_BY_LABELS: accuracy[IN_CONTEXT] - accuracy[SHUFFLED],
    }
    found = {ACCURACY: _along(WAY, accuracy, "share", seed), **_measured(gains, "share", seed)}
    found[LEARNED] = _along(RULE, {rule: accuracy[rule] - accuracy[ZERO_SHOT] for rule in apart}, "share", seed)
    by_rule = {rule: _along(BETWEEN, own, _FAR, seed) for rule, own in apart.items()}
    found[DISTANCE] = along(RULE, by_rule)
    found[BEYOND] = along(RULE, {rule: _beyond(own, seed) for rule, own in apart.items()})
    return found | _rivals(apart, rivals, seed) | _order(order, seed)


def _beyond(apart: Numbers, seed: int) -> Measure:
    """How much farther from tuned parameters answers in context are than those of another run of the descent."""
    itself = max(ITSELF, key=lambda what: apart[what].mean())
    return _measured({BEYOND: apart[IN_CONTEXT] - apart[itself]}, _FAR, seed, f"beyond {itself}")[BEYOND]


def _rivals(apart: Mapping[Rule, Numbers], rivals: Numbers, seed: int) -> dict[str, Measure]:
    if not rivals:
        return {name: missing(_FAR, "not applicable", "no rival was compared") for name in (RIVALS, RIVAL_AHEAD)}
    rule = min(apart, key=lambda rule: apart[rule][IN_CONTEXT].mean())
    rival = min(rivals, key=lambda rival: rivals[rival].mean())
    ahead = _measured({RIVAL_AHEAD: apart[rule][IN_CONTEXT] - rivals[rival]}, _FAR, seed, f"{rival}, ahead of {rule}")
    return {RIVALS: _along(RIVAL, rivals, _FAR, seed), **ahead}


def _order(order: Numbers, seed: int) -> dict[str, Measure]:
    if not order:
        return {ORDER: missing(_FAR, "not applicable", "each class has one demonstration, so none can disagree")}
    return {ORDER: _along(DEMOS, order, _FAR, seed)}


def _along(axis: str, numbers: Numbers, unit: str, seed: int) -> Measure:
    return along(axis, _measured(numbers, unit, seed))


def _measured(numbers: Numbers, unit: str, seed: int, about: str = "") -> dict[str, Measure]:
    return task_measures(
        {what: PerTask(own, unit, no_nulls=_BESIDE, message=about) for what, own in numbers.items()}, seed
    )
