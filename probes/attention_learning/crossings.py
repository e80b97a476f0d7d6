"""When an accuracy first passes one half, which passes first, and medians over seeds of which some never do.

A seed that never crosses is not left out: its number is known to lie between two ends, of which one may be infinite.
Of the median over seeds, too, a lower and an upper end are known. They are the same where seeds that never cross do not
reach the middle. The interval is that of order statistics, whatever the distribution: between the j-th smallest and
the j-th largest of n seeds, with the largest j for which P(Binomial(n, 1/2) < j) <= 2.5 %. Its lower end is formed from
the seeds' lower ends, and its upper end from their upper ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy import stats

from ..statistics.bootstrap import LEVEL
from .names import ATTENTION_FIRST, HALF, KTIW_FIRST, NEITHER, TOGETHER

FEWEST = 6
"""Seeds from which on a median has a 95 % interval: all of five are on one side of it in 1 of 16 cases."""


class Ends(NamedTuple):
    """What is known of one seed's number: it is not below `low` and not above `high`."""

    low: float
    high: float


@dataclass(frozen=True)
class Median:
    """A median over seeds.

    value:      NaN where seeds that never cross leave it open
    interval:   an end is NaN where it is infinite, or where seeds are too few
    words:      what is NaN and why; empty if nothing is
    """

    value: float
    interval: tuple[float, float]
    words: str


def first_crossing(steps: Sequence[int], values: Float[np.ndarray, " checkpoint"]) -> int | None:
    """The first step at which the accuracy is at least one half; None if at none. NaN is not."""
    crossed = np.flatnonzero(values >= HALF)
    return int(steps[crossed[0]]) if len(crossed) else None


def order_of(ktiw: int | None, attention: int | None) -> str:
    """Which crossed first, by the steps at which they did. Of two at one checkpoint the order is not known."""
    if ktiw == attention:
        return NEITHER if ktiw is None else TOGETHER
    return KTIW_FIRST if _or_never(ktiw) < _or_never(attention) else ATTENTION_FIRST


def crossing_ends(step: int | None, last: int) -> Ends:
    """Of a first crossing: what has not crossed by the last step may do so any time after it."""
    return Ends(last, math.inf) if step is None else Ends(step, step)


def lead_ends(ktiw: int | None, attention: int | None, last: int) -> Ends:
    """Of step(attention) - step(ktiw). Where one of the two has not crossed by the last step, the lead is at least, or
    at most, what it would be if it crossed there; where neither has, nothing is known.
    """
    earlier, later = crossing_ends(ktiw, last), crossing_ends(attention, last)
    return Ends(later.low - earlier.high, later.high - earlier.low)


def median_of(seeds: Sequence[Ends]) -> Median:
    """The median over seeds with its 95 % interval."""
    n = len(seeds)
    if not n:
        return Median(math.nan, (math.nan, math.nan), "there are no seeds")
    lows, highs = (np.sort(ends) for ends in np.array(seeds, dtype=np.float64).T)
    low, high = float(np.median(lows)), float(np.median(highs))
    words = [] if low == high else [f"the median is {_between(low, high)}"]
    value = low if low == high else math.nan
    if n < FEWEST:
        words.append(f"{n} seed{'s' if n > 1 else ''}: a median has a {LEVEL:.0%} interval from {FEWEST} on")
        return Median(value, (math.nan, math.nan), _said(words))
    # P(Binomial < j) is the chance that the j-th smallest lies above the median
    j = int(stats.binom.ppf((1 - LEVEL) / 2, n, 0.5))
    ends = float(lows[j - 1]), float(highs[n - j])
    if any(map(math.isinf, ends)):
        words.append(f"its interval: {_between(*ends)}")
    return Median(value, (_finite(ends[0]), _finite(ends[1])), _said(words))


def _between(low: float, high: float) -> str:
    if math.isinf(low) and math.isinf(high):
        return "not known"
    if math.isinf(low):
        return f"at most {high:g}"
    return f"at least {low:g}" if math.isinf(high) else f"between {low:g} and {high:g}"


def _said(words: list[str]) -> str:
    return "; ".join(words)


def _finite(end: float) -> float:
    return end if math.isfinite(end) else math.nan


def _or_never(step: int | None) -> float:
    return math.inf if step is None else step
