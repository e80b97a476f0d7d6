"""What a timeline shows, in sentences. Each has a condition, and says no more than the measured steps tell."""

from __future__ import annotations

import math
from collections.abc import Iterable

from ...probes.statistics.change_points import FEWEST_STEPS, ChangePoint
from ...probes.statistics.medians import FEWEST, Ends
from ...probes.statistics.onset import Order, OverSeeds
from .judging import Judged, Pair, Timeline


def sentences(found: Timeline) -> dict[str, list[str]]:
    """One for each onset, and one for each two of which the order is known in some training."""
    told = [pair for pair in found.pairs if pair.told]
    return {
        "onsets": [onset_sentence(one, found.noun) for one in found.judged],
        "order": [order_sentence(pair, found.noun) for pair in told],
    }


# -- onsets ------------------------------------------------------------------------------------------------------------


def onset_sentence(one: Judged, noun: str) -> str:
    """When one measure begins, over all trainings that say so."""
    known, courses = one.known, one.series.courses
    if one.over is None:
        return f"{one.series.name}: no step has an interval and a null to compare it with."
    if len(known) > 1:
        return f"{one.series.name} {_over(one.over, noun)}.{_chosen(one, noun)}{_without(one)}"
    ((training, onset),) = known.items()
    place = (
        f" ({courses[training].place}, {one.series.followed.end} at the last step)" if courses[training].place else ""
    )
    return f"{one.series.name}{place} {onset.sentence}; one {noun}: no interval.{_without(one)}"


def _chosen(one: Judged, noun: str) -> str:
    """Of what was followed, where each training has a head of its own."""
    if not any(course.place for course in one.series.courses.values()):
        return ""
    return f" In each {noun} at the place where it is {one.series.followed.end} at the last step."


def _without(one: Judged) -> str:
    lacking = [training for training, onset in one.onsets.items() if onset is None]
    return f" Without a number: {_listed(lacking)}." if lacking else ""


def _over(over: OverSeeds, noun: str) -> str:
    n = f"{over.seeds} {noun}s"
    if not over.begun:
        return f"has not begun by the last step in any of {n}"
    if over.at_once == over.seeds:
        return f"has begun at the first step that was measured in all {n}"
    if over.interval is not None:
        words = f"begins {where(over.median)} at the median of {n} (95 % interval: {where(over.interval)})"
    elif over.seeds > 2:
        words = f"begins {where(over.median)} at the median of {n} (their range only: {where(over.range)})"
    else:
        words = f"begins {where(over.range)} ({n}: their range only)"
    at_once = f"; in {over.at_once} it has begun at the first step that was measured" if over.at_once else ""
    never = over.seeds - over.begun
    return words + at_once + (f"; in {never} it has not begun by the last step" if never else "")


def where(ends: Ends) -> str:
    """`between steps 1300 and 1600`, `after step 1300`, `by step 1600`, `at an unknown step`."""
    low, high = (f"{end:.12g}" for end in ends)
    if math.isinf(ends.low) and math.isinf(ends.high):
        return "at an unknown step"
    if math.isinf(ends.low):
        return f"by step {high}"
    return f"after step {low}" if math.isinf(ends.high) else f"between steps {low} and {high}"


# -- two of them -------------------------------------------------------------------------------------------------------


def order_sentence(pair: Pair, noun: str) -> str:
    """Which of two measures begins first. The one that does in more trainings stands first."""
    order, (one, other, _) = pair.order, pair.in_order
    first, second = one.name, other.followed.words if other.probe == one.probe else other.name
    left_out = f" Left out, with one of the two only: {_listed(pair.left_out)}." if pair.left_out else ""
    if not pair.told:
        return f"{first}, {second}: the measured steps cannot tell which begins first.{left_out}"
    return f"{first} begins before {second} {_in_how_many(order, noun)}.{left_out}"


def _in_how_many(order: Order, noun: str) -> str:
    if order.seeds == 1:
        return f"(one {noun}: no test)"
    more, fewer = sorted((len(order.first), len(order.second)), reverse=True)
    words = f"in {more} of {order.seeds} {noun}s"
    if fewer:
        words += f", and after it in {fewer}"
    if order.open:
        words += f"; in {len(order.open)} the measured steps cannot tell"
    return f"{words} ({_p(order, noun)})"


def _p(order: Order, noun: str) -> str:
    told = len(order.first) + len(order.second)
    words = f"p = {order.p:.2g}, exact sign test over {noun}s"
    return words if told >= FEWEST else f"{words}; {told} can give no less than {2 ** (1 - told):.2g}"


# -- changes of course -------------------------------------------------------------------------------------------------


def change_sentences(one: Judged) -> list[str]:
    """Where the course changes, training by training."""
    found = []
    for training, changes in one.changes.items():
        n = int(one.series.courses[training].measured.sum())
        if changes is None:
            found.append(f"{training}: cannot tell: {n} steps, and {FEWEST_STEPS} are needed.")
        elif not changes:
            found.append(f"{training}: no change of course beyond that of a curve that wanders.")
        found += [f"{training}: {change_words(change)}." for change in changes or ()]
    return found


def change_words(change: ChangePoint) -> str:
    """`turns upwards between steps 1300 and 1450, nearest 1400 (p = 0.023)`."""
    up = change.change > 0
    between = f"between steps {change.after} and {change.before}"
    if change.at is None:
        return f"jumps {'up' if up else 'down'} {between} (p = {change.p:.2g})"
    return f"turns {'upwards' if up else 'downwards'} {between}, nearest {change.at} (p = {change.p:.2g})"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(names)
