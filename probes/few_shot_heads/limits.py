"""What a report of few-shot-heads does not show, one sentence a limit, each under its own condition."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ..findings import Head
from ..measure import Measure
from ..statistics.sign_flips import sequences_needed
from .names import (
    ANSWER,
    BEYOND,
    BEYOND_OF_PROBABILITY,
    DROP_P,
    EXCESS_P,
    FUNCTION_VECTOR,
    GAIN,
    GIVEN,
    GROUP,
    HEADS,
    PATCH,
    RULES,
    TASK_MEAN,
    Group,
)
from .verdicts import learns, of_one_checkpoint

FIRST_TOKEN = "An answer is judged by the first token of its label."
LAST_POSITION = (
    "Outputs are replaced at the last position only. Heads that act at earlier positions, such as previous-token heads,"
    " are not seen."
)
ONE_BY_ONE = (
    "Indirect effects are of one head at a time. Heads that only work together, or that do the same, can each have a"
    " small one."
)
MAY_COPY = (
    "An answer head may find the label by copying, by comparing inputs, or in another way: its effect does not say how."
)
NOT_ABOVE_RANDOM = (
    "The {} cost no more than random heads of their layers, as far as these tasks can tell: what they carry is not"
    " needed, or other heads carry it, too."
)
ONE_RULE = (
    "All tasks are draws from one task, and the halves share its examples. Intervals say nothing about other tasks and"
    " are too narrow."
)
FEW_RULES = "The tasks have only {} rules. Intervals say nothing about other rules."
FEW_TASKS = "{} tasks chose the heads: too few for one of {} heads to pass a false discovery rate of this size."
BY_SEED = "Only numbers without heads are averaged over {}s."
FEW_SETS = "With {} random sets the smallest possible rank is {:.2g}."
_MANY_RULES = 10


def limits(measures: Mapping[str, Measure], sets: Mapping[Group, tuple[Head, ...]]) -> Iterator[str]:
    """All limits of one claim."""
    yield FIRST_TOKEN
    yield from _rules(measures[RULES])
    p = measures[EXCESS_P].sel(**{PATCH: TASK_MEAN})
    if not of_one_checkpoint(measures):
        yield BY_SEED.format(measures[GAIN].replicate)
    if not learns(measures):
        return
    yield LAST_POSITION
    yield ONE_BY_ONE
    if p.axes == HEADS:
        yield from _tasks(p)
    if sets[ANSWER]:
        yield MAY_COPY
    yield from _ablations(measures)


def _rules(rules: Measure) -> Iterator[str]:
    if not rules.has_number or rules.axes:
        return
    if rules.estimate == 1:
        yield ONE_RULE
    elif rules.estimate < _MANY_RULES:
        yield FEW_RULES.format(f"{rules.estimate:.0f}")


def _tasks(p: Measure) -> Iterator[str]:
    """Where no single head could pass, whatever its effect."""
    heads = p.values.size
    if p.n < sequences_needed(heads, 1.0):
        yield FEW_TASKS.format(p.n, heads)


def _ablations(measures: Mapping[str, Measure]) -> Iterator[str]:
    for group in (FUNCTION_VECTOR, ANSWER):
        found = [measures[name].sel(**{GROUP: group}) for name in (BEYOND, BEYOND_OF_PROBABILITY)]
        if all(one.has_number and not one.axes and not one.interval[0] > 0 for one in found):
            yield NOT_ABOVE_RANDOM.format(f"{group} heads")
    ranks = [measures[DROP_P].sel(**{GROUP: group}) for group in (FUNCTION_VECTOR, ANSWER, GIVEN)]
    known = [one for one in ranks if one.has_number and one.replicate == "set"]
    if known and known[0].n < 19:
        yield FEW_SETS.format(known[0].n, 1 / (known[0].n + 1))
