"""What became of a training run, in how many runs, and whether one kind of run learns less often than another.

A copy model can solve its task without looking at the word it copies: of a permutation, all other words tell which one
is missing. So a run that learned is sorted by its attention and its KTIW ("knowledge to translate individual words").
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from scipy import stats

from ..statistics.bootstrap import LEVEL
from .names import ANTI_ATTENTION, BY_ATTENTION, HALF, NOT_LEARNED, OTHERWISE

LEARNED = 0.95
NONE = 0.1
"""Below it, attention and KTIW of a model that learned are those of one that avoids the word it copies."""


class Share(NamedTuple):
    """The share of n runs, with its interval of Clopper and Pearson (1934); all NaN of no runs."""

    value: float
    low: float
    high: float
    n: int


def outcome_of(task: float, attention: float, ktiw: float, learned: float = LEARNED) -> str | None:
    """One of names.OUTCOMES by the accuracies of a run; None where one that is needed is NaN."""
    if math.isnan(task):
        return None
    if task < learned:
        return NOT_LEARNED
    if math.isnan(attention) or math.isnan(ktiw):
        return None
    if min(attention, ktiw) >= HALF:
        return BY_ATTENTION
    return ANTI_ATTENTION if max(attention, ktiw) < NONE else OTHERWISE


def share_of(count: int, n: int) -> Share:
    """`count` of `n` runs."""
    if not n:
        return Share(math.nan, math.nan, math.nan, 0)
    interval = stats.binomtest(count, n).proportion_ci(LEVEL, method="exact")
    return Share(count / n, float(interval.low), float(interval.high), n)


def shares_of(found: Sequence[str | None], names: Sequence[str]) -> dict[str, Share]:
    """The share of each name among the runs of which one is known."""
    known = [name for name in found if name is not None]
    return {name: share_of(known.count(name), len(known)) for name in names}


def learns_less_often(first: tuple[int, int], second: tuple[int, int]) -> float:
    """Fisher's exact test, one-sided: p that the first group has so few runs that learned, or fewer, if both learn
    equally often. A group: how many learned, and how many runs there are.
    """
    (learned, n), (others, m) = first, second
    return float(stats.hypergeom.cdf(learned, n + m, learned + others, n))
