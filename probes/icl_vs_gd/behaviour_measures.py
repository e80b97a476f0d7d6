"""Measures of answers: means over tasks, and what verdicts compare, task by task."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..measure import Measure, along, missing, without_interval
from ..statistics.sample_measures import PerTask, task_measures
from .answered import Answered
from .answers import ITSELF
from .answers import PerTask as OfTasks
from .likeness_measures import likeness_measures
from .names import (
    ACCURACY,
    BETWEEN,
    BEYOND,
    CLEAN,
    CONFLICTING,
    DEMOS,
    DISTANCE,
    FULL_BATCH,
    GAIN,
    GAIN_BY_LABELS,
    IN_CONTEXT,
    LEARNED,
    ORDER,
    RIVAL,
    RIVAL_ACCURACY,
    RIVAL_AHEAD,
    RIVALS,
    RULE,
    SHUFFLED,
    WAY,
    ZERO_SHOT,
    Demonstrations,
    Rule,
)

_BESIDE = "zero-shot and shuffled labels stand beside it"
_FAR = "total variation"
NO_RULE = "no rule of fine-tuning was compared"
_NO_ORDERS = "demonstrations have no other order"
_NO_CONFLICT = "each label has one demonstration, so none can disagree"
_SORTED = "0 by construction: full-batch descent sorts demonstrations before its first step"
Numbers = Mapping[str, OfTasks]


def measures_of(answered: Answered, seed: int) -> dict[str, Measure]:
    """Of all answers."""
    numbers = answered.numbers
    apart: Mapping[Rule, Numbers] = numbers.get(DISTANCE, {})
    found = behaviour_measures(numbers[ACCURACY], apart, numbers[RIVALS], numbers[ORDER], seed)
    found[RIVAL_ACCURACY] = _along(RIVAL, numbers[RIVAL_ACCURACY], "share", seed)
    return found | likeness_measures(numbers, seed)


def behaviour_measures(
    accuracy: Numbers, apart: Mapping[Rule, Numbers], rivals: Numbers, order: Mapping[str, Numbers], seed: int
) -> dict[str, Measure]:
    """What verdicts read.

    accuracy:  among a task's labels, by ZERO_SHOT, IN_CONTEXT, SHUFFLED and rule
    apart:     what `distances` gives, by rule
    rivals:    total variation of rivals without gradients from answers in context
    order:     total variation between orders, by what answers, and by CLEAN and CONFLICTING
    """
    gains = {
        GAIN: accuracy[IN_CONTEXT] - accuracy[ZERO_SHOT],
        GAIN_BY_LABELS: accuracy[IN_CONTEXT] - accuracy[SHUFFLED],
    }
    found = {ACCURACY: _along(WAY, accuracy, "share", seed), **_measured(gains, "share", seed)}
    found |= _by_rule(accuracy, apart, seed)
    return found | _rivals(apart, rivals, seed) | {ORDER: _order(order, tuple(apart), seed)}


def _by_rule(accuracy: Numbers, apart: Mapping[Rule, Numbers], seed: int) -> dict[str, Measure]:
    if not apart:
        units = {LEARNED: "share", DISTANCE: _FAR, BEYOND: _FAR}
        return {name: missing(unit, "undefined", NO_RULE) for name, unit in units.items()}
    learned = {rule: accuracy[rule] - accuracy[ZERO_SHOT] for rule in apart}
    return {
        LEARNED: _along(RULE, learned, "share", seed),
        DISTANCE: along(RULE, {rule: _along(BETWEEN, own, _FAR, seed) for rule, own in apart.items()}),
        BEYOND: along(RULE, {rule: _beyond(own, seed) for rule, own in apart.items()}),
    }


def _beyond(apart: Numbers, seed: int) -> Measure:
    """How much farther from tuned parameters answers in context are than those of another run of the descent."""
    itself = max((what for what in ITSELF if what in apart), key=lambda what: apart[what].mean())
    return _measured({BEYOND: apart[IN_CONTEXT] - apart[itself]}, _FAR, seed, f"beyond {itself}")[BEYOND]


def _rivals(apart: Mapping[Rule, Numbers], rivals: Numbers, seed: int) -> dict[str, Measure]:
    if not rivals:
        return {name: missing(_FAR, "not applicable", "no rival was compared") for name in (RIVALS, RIVAL_AHEAD)}
    found = {RIVALS: _along(RIVAL, rivals, _FAR, seed)}
    if not apart:
        return found | {RIVAL_AHEAD: missing(_FAR, "undefined", NO_RULE)}
    rule = min(apart, key=lambda rule: apart[rule][IN_CONTEXT].mean())
    rival = min(rivals, key=lambda rival: rivals[rival].mean())
    ahead = {RIVAL_AHEAD: apart[rule][IN_CONTEXT] - rivals[rival]}
    return found | _measured(ahead, _FAR, seed, f"{rival}, ahead of {rule}")


def _order(order: Mapping[str, Numbers], rules: tuple[Rule, ...], seed: int) -> Measure:
    """Of full-batch rules it is no measurement."""
    if not order:
        return missing(_FAR, "not applicable", _NO_ORDERS)
    kinds = order[IN_CONTEXT]
    ways = {who: _kinds(_measured(own, _FAR, seed)) for who, own in order.items()}
    nothing = {kind: without_interval(np.zeros(()), _FAR, message=_SORTED, no_nulls=_SORTED) for kind in kinds}
    return along(WAY, ways | {rule: _kinds(nothing) for rule in rules if rule in FULL_BATCH})


def _kinds(measured: Mapping[str, Measure]) -> Measure:
    kinds: tuple[Demonstrations, ...] = (CLEAN, CONFLICTING)
    return along(DEMOS, {kind: measured.get(kind) or missing(_FAR, "not applicable", _NO_CONFLICT) for kind in kinds})


def _along(axis: str, numbers: Numbers, unit: str, seed: int) -> Measure:
    return along(axis, _measured(numbers, unit, seed))


def _measured(numbers: Numbers, unit: str, seed: int, about: str = "") -> dict[str, Measure]:
    return task_measures(
        {what: PerTask(own, unit, no_nulls=_BESIDE, message=about) for what, own in numbers.items()}, seed
    )
