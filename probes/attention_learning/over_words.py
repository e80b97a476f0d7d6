"""What several checkpoints show, in sentences, each under its own condition."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np

from ...models.subject import Source
from ..comparing.numbers import number, rounded
from ..comparing.verdicts import percent
from ..measure import Measure
from .crossings import first_crossing, order_of
from .names import (
    ANTI_ATTENTION,
    ATTENTION,
    ATTENTION_FIRST,
    HALF,
    KTIW,
    KTIW_FIRST,
    NEITHER,
    OTHERWISE,
    OUTCOME,
    PAIR,
    TOGETHER,
    UNIFORM,
)  # fmt: skip
from .outcomes import share_of
from .push_measures import PUSH, STEP
from .standing import standing_of
from .training_facts import co_occurrence_is_told, has_frozen_beta, has_uniform_attention
from .training_runs import Run, all_steps

KTIW_COMES_FIRST = "KTIW comes first."
ATTENTION_COMES_FIRST = "Attention comes first."
CANNOT_TELL = "Which comes first cannot be told from these seeds."
NO_DRIVER = (
    "That KTIW passes one half first does not show that it drives attention: in trainings of one head it does so, too,"
    " where every source holds all words and co-occurrence says nothing."
)
RATES = (
    "How many seeds learn depends on the initialisation, on where positions enter, on the learning rate and on the"
    " number of steps: the share is that of this recipe."
)


def sentences_of(runs: Sequence[Run], measures: Mapping[str, Measure]) -> Iterator[str]:
    """In the order of the card."""
    yield from _outcomes(runs, measures)
    if _held(runs):
        yield from _causal(runs)
    else:
        yield from _order(runs, measures)
    if not _all(runs, has_uniform_attention):  # which goes nowhere, whatever pushes it
        yield from _pushed(measures)
    yield from _similar(measures)


def badge_of(runs: Sequence[Run], measures: Mapping[str, Measure]) -> str:
    """The verdict of a training in which something was held fixed; else which seeds learn, or what comes first."""
    if _held(runs):
        return _causal_badge(runs)
    if "learned" in measures:
        n = _n_at_last(runs)
        return f"{_count(_last(measures['learned']).estimate, n)} of {n} seeds learn to copy"
    return ""


def limits_of(runs: Sequence[Run], measures: Mapping[str, Measure]) -> Iterator[str]:
    if "crossing_order" in measures and not _held(runs):
        if KTIW_FIRST in _orders(runs):
            yield NO_DRIVER
        gap = max(later - step for run in runs for step, later in pairwise(run.steps))
        yield f"First crossings are true to the distance between checkpoints, here up to {gap:,} steps."
    if "learned" in measures:
        yield RATES


# -- which learn -------------------------------------------------------------------------------------------------------


def _outcomes(runs: Sequence[Run], measures: Mapping[str, Measure]) -> Iterator[str]:
    if "learned" not in measures:
        return
    learned, n = _last(measures["learned"]), _n_at_last(runs)
    count, (low, high) = _count(learned.estimate, n), (100 * float(end) for end in learned.interval)
    by = f" by step {all_steps(runs)[-1]:,}" if all_steps(runs)[-1] else ""
    yield f"{count} of {n} seeds learn{'s' * (count == 1)} to copy{by} (95 % CI {low:.0f} to {high:.0f} %)."
    for outcome, words in {ANTI_ATTENTION: "by anti-attention", OTHERWISE: "not by attention to known words"}.items():
        if some := _count(_last(measures["outcome"]).sel(**{OUTCOME: outcome}).estimate, n):
            yield f"Of these, {some} {'does' if some == 1 else 'do'} so {words}."


def _last(measure: Measure) -> Measure:
    return measure.at(step=-1) if STEP in measure.axes else measure


def _n_at_last(runs: Sequence[Run]) -> int:
    """Seeds that have the last step: those that the shares at it are of."""
    return sum(all_steps(runs)[-1] in run.steps for run in runs)


def _count(share: float, n: int) -> int:
    return round(share * n)


# -- which comes first -------------------------------------------------------------------------------------------------


def _orders(runs: Sequence[Run]) -> list[str]:
    return [order_of(*(first_crossing(run.steps, run.accuracies(name)) for name in (KTIW, ATTENTION))) for run in runs]


def _order(runs: Sequence[Run], measures: Mapping[str, Measure]) -> Iterator[str]:
    if "crossing_order" not in measures:
        return
    if len(runs) == 1:
        yield from _order_of_one(runs[0])
        return
    found = _orders(runs)
    first, second, same, neither = (found.count(name) for name in (KTIW_FIRST, ATTENTION_FIRST, TOGETHER, NEITHER))
    said = f"KTIW passes one half before attention in {first} of {len(runs)} seeds, and after it in {second}"
    said += f"; at the same checkpoint in {same}" if same else ""
    yield f"{said}; neither does in {neither}." if neither else f"{said}."
    yield from _verdict(first, second)
    lead = measures["ktiw_lead"]
    if lead.has_number and lead.estimate > 0:
        yield f"Attention follows KTIW after a median of {number(lead)} steps."


def _verdict(first: int, second: int) -> Iterator[str]:
    """By the seeds that tell: which of the two is in the majority beyond chance."""
    told = first + second
    if not told:
        return
    share = share_of(first, told)
    if share.low > HALF:
        yield KTIW_COMES_FIRST
    else:
        yield ATTENTION_COMES_FIRST if share.high < HALF else CANNOT_TELL


def _order_of_one(run: Run) -> Iterator[str]:
    steps = {words: first_crossing(run.steps, run.accuracies(name)) for words, name in _OF_ONE.items()}
    said = [f"{words} {'does not' if step is None else f'at step {step:,}'}" for words, step in steps.items()]
    last = "" if None not in steps.values() else f" (the last step is {run.steps[-1]:,})"
    yield f"Passing one half: {', '.join(said)}{last}."


_OF_ONE = {"KTIW": KTIW, "attention accuracy": ATTENTION}


# -- what was held fixed -----------------------------------------------------------------------------------------------


def _held(runs: Sequence[Run]) -> bool:
    return _all(runs, has_uniform_attention) or _all(runs, has_frozen_beta)


def _all(runs: Sequence[Run], asked: Callable[[Source], bool]) -> bool:
    return all(asked(run.last.source) for run in runs)


def _causal(runs: Sequence[Run]) -> Iterator[str]:
    """The verdict of a training without attention, or without knowledge of words."""
    if _all(runs, has_uniform_attention):
        yield from _without_attention(runs, _seeds_beyond_half(runs, KTIW))
    else:
        yield from _without_knowledge(runs, _seeds_beyond_half(runs, ATTENTION))


def _seeds_beyond_half(runs: Sequence[Run], quantity: str) -> int:
    return sum(bool(run.accuracies(quantity)[-1] >= HALF) for run in runs)


def _without_attention(runs: Sequence[Run], knowing: int) -> Iterator[str]:
    why = ""
    if knowing:
        why = ": KTIW needs no attention"
    elif _all(runs, lambda source: co_occurrence_is_told(source) is False):
        why = ": every source holds all words, and co-occurrence says nothing"
    yield f"With attention held uniform, more than half of the words are known {_seeds(knowing, runs)}{why}."


def _without_knowledge(runs: Sequence[Run], attending: int) -> Iterator[str]:
    there = "" if attending == len(runs) else "there "
    waits = f"{there}attention does not wait for KTIW" if attending else "attention does not form without KTIW"
    yield (
        "With beta held at its initial values, more than half of the places come to attend most to their own word"
        f" {_seeds(attending, runs)}: {waits}."
    )


def _seeds(count: int, runs: Sequence[Run]) -> str:
    """in 2 of 5 seeds by step 100"""
    by = f" by step {all_steps(runs)[-1]:,}" if all_steps(runs)[-1] else ""
    return f"in {count} of {len(runs)} seed{'s' * (len(runs) > 1)}{by}"


def _causal_badge(runs: Sequence[Run]) -> str:
    if _all(runs, has_uniform_attention):
        return "KTIW without attention" if _seeds_beyond_half(runs, KTIW) else "No KTIW without attention"
    return "Attention without KTIW" if _seeds_beyond_half(runs, ATTENTION) else "No attention without KTIW"


# -- where attention goes ----------------------------------------------------------------------------------------------


def _pushed(measures: Mapping[str, Measure]) -> Iterator[str]:
    push = measures[PUSH]
    if STEP not in push.axes or not push.has_number:
        return
    each = [standing_of(push.at(step=place)) for place in range(len(push.values))]
    known = [standing for standing in each if standing is not None]
    low, high = rounded(float(np.nanmin(push.values))), rounded(float(np.nanmax(push.values)))
    between = low if low == high else f"between {low} and {high}"
    yield (
        f"Where beta pushes attention most, it rises most until the next checkpoint more often than chance at"
        f" {known.count('above')} of {len(known)} step{'s' * (len(known) > 1)} (agreement {between})."
    )


def _similar(measures: Mapping[str, Measure]) -> Iterator[str]:
    if "xi" not in measures or measures["xi"].status != "ok":
        return
    xi = measures["xi"].sel(**{PAIR: UNIFORM.name})
    if xi.has_number and measures["xi_star"].has_number:
        known = xi.n if xi.points is None else int(np.isfinite(xi.points).sum())
        where = "" if known == xi.n else f"; known of {known} of {xi.n} seeds"
        yield (
            "Another seed's attention agrees as much with a finished one as the twin's beta does once its task accuracy"
            f" is {percent(number(xi))} (best of a seed: {percent(number(measures['xi_star']))}{where})."
        )
