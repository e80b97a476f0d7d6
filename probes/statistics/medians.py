"""Medians over seeds whose numbers are known only to lie between two ends, one of which may be infinite.

A seed whose number is censored is not left out. Of the median over seeds, too, a lower and an upper end are known. They
are the same where such seeds do not reach the middle. The interval is that of order statistics, whatever the
distribution: between the j-th smallest and the j-th largest of n seeds, with the largest j for which
P(Binomial(n, 1/2) < j) <= 2.5 %. Its lower end is formed from the seeds' lower ends, and its upper end from their upper
ones.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import stats

from .bootstrap import LEVEL

FEWEST = 6
"""Seeds from which on a median has a 95 % interval: all of five are on one side of it in 1 of 16 cases."""


class Ends(NamedTuple):
    """What is known of one seed's number: it is not below `low` and not above `high`."""

    low: float
    high: float


@dataclass(frozen=True)
class Median:
    """A median over seeds.

    value:      NaN where censored seeds leave it open
    interval:   an end is NaN where it is infinite, or where seeds are too few
    words:      what is NaN and why; empty if nothing is
    """

    value: float
    interval: tuple[float, float]
    words: str


def median_ends(seeds: Sequence[Ends]) -> Ends:
    """What is known of the median of at least one seed."""
    lows, highs = np.array(seeds, dtype=np.float64).T
    return Ends(float(np.median(lows)), float(np.median(highs)))


def interval_ends(seeds: Sequence[Ends]) -> Ends | None:
    """The 95 % interval of the median; None of fewer than `FEWEST` seeds."""
    n = len(seeds)
    if n < FEWEST:
        return None
    lows, highs = (np.sort(ends) for ends in np.array(seeds, dtype=np.float64).T)
    # P(Binomial < j) is the chance that the j-th smallest lies above the median
    j = int(stats.binom.ppf((1 - LEVEL) / 2, n, 0.5))
    return Ends(float(lows[j - 1]), float(highs[n - j]))


def median_of(seeds: Sequence[Ends]) -> Median:
    """The median over seeds with its 95 % interval."""
    n = len(seeds)
    if not n:
        return Median(math.nan, (math.nan, math.nan), "there are no seeds")
    low, high = median_ends(seeds)
    words = [] if low == high else [f"the median is {_between(low, high)}"]
    value = low if low == high else math.nan
    ends = interval_ends(seeds)
    if ends is None:
        words.append(f"{n} seed{'s' if n > 1 else ''}: a median has a {LEVEL:.0%} interval from {FEWEST} on")
        return Median(value, (math.nan, math.nan), _said(words))
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
