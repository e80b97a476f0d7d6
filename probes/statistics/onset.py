"""When a measure begins to differ from its null along a training, as far as the measured steps can tell.

The onset is the first step at which the interval clears the null, and does so at every later measured step. It lies
between two steps: after the last at which it had not begun, and not after the first from which on it has. A step that
was not measured says nothing, so the bracket is wider there. What has not begun by the last step may do so any time
after it (it is censored).

Onsets of two measures are compared within a seed, never over pooled steps. One begins before the other only where its
bracket ends before the other's begins. Over seeds that is a sign test.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from scipy import stats

from .medians import Ends, interval_ends, median_ends


@dataclass(frozen=True)
class Onset:
    """Where one curve begins: after `after`, and not after `by`.

    after:  the last step at which it had not begun; None: it has begun at the first step that was measured
    by:     the first step from which on it clears its null; None: it has not begun by the last step
    later:  measured steps after `by`, all of which clear the null, too
    """

    after: int | None
    by: int | None
    later: int = 0

    @property
    def ends(self) -> Ends:
        """What is known of the step as a number."""
        low = -math.inf if self.after is None else float(self.after)
        return Ends(low, math.inf if self.by is None else float(self.by))

    @property
    def sentence(self) -> str:
        """With "it" left out: "begins between steps 1300 and 1600"."""
        if self.by is None:
            return f"has not begun by step {self.after}"
        alone = "" if self.later else ", seen at the last step only"
        if self.after is None:
            return f"has begun at step {self.by}, the first that was measured{alone}"
        return f"begins between steps {self.after} and {self.by}{alone}"


def clears(
    low: Float[np.ndarray, " step"], high: Float[np.ndarray, " step"], null: Float[np.ndarray, " step"], above: bool
) -> Float[np.ndarray, " step"]:
    """1 where the whole interval is on the other side of the null, 0 where it is not, NaN where one has no number.

    null:   the number to clear: the largest sample of a null, say; for `above=False` the smallest
    above:  whether the measure rises above its null, or falls below it
    """
    cleared = low > null if above else high < null
    known = np.isfinite(low) & np.isfinite(high) & np.isfinite(null)
    return np.where(known, cleared.astype(np.float64), np.nan)


def onset_of(steps: Int[np.ndarray, " step"], cleared: Float[np.ndarray, " step"]) -> Onset | None:
    """The onset, from whether each step clears the null (see `clears`); None where no step is known.

    steps:  rising; a step that was not measured may be left out, or be NaN in `cleared`
    """
    known: Bool[np.ndarray, " step"] = np.isfinite(cleared)
    steps, cleared = steps[known], cleared[known]
    if not len(steps):
        return None
    not_begun = np.flatnonzero(cleared == 0)
    first = int(not_begun[-1]) + 1 if len(not_begun) else 0
    after = int(steps[first - 1]) if first else None
    if first == len(steps):
        return Onset(after, None)
    return Onset(after, int(steps[first]), len(steps) - first - 1)


@dataclass(frozen=True)
class OverSeeds:
    """The onsets of several seeds.

    seeds:     how many there are
    begun:     in how many of them the measure has begun
    at_once:   in how many of these it has at the first step that was measured
    median:    what is known of the median onset; seeds in which it has not begun count
    interval:  95 %, of order statistics; None of fewer than `medians.FEWEST` seeds
    range:     from the earliest to the latest
    """

    seeds: int
    begun: int
    at_once: int
    median: Ends
    interval: Ends | None
    range: Ends


def over_seeds(onsets: Sequence[Onset]) -> OverSeeds:
    """Of at least one seed."""
    ends = [onset.ends for onset in onsets]
    begun = [onset for onset in onsets if onset.by is not None]
    at_once = sum(onset.after is None for onset in begun)
    between = Ends(min(low for low, _ in ends), max(high for _, high in ends))
    return OverSeeds(len(ends), len(begun), at_once, median_ends(ends), interval_ends(ends), between)


# -- two measures ------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Order:
    """Which of two measures begins first, seed by seed.

    first, second:  seeds in which the first, or the second, begins before the other
    open:           seeds in which the measured steps cannot tell
    p:              two-sided exact sign test over the seeds that can; NaN where none can, or there is one seed
    lead:           what is known of the median over seeds of the second's onset minus the first's, in steps
    lead_interval:  its 95 % interval; None of few seeds
    """

    first: tuple[str, ...]
    second: tuple[str, ...]
    open: tuple[str, ...]
    p: float
    lead: Ends
    lead_interval: Ends | None

    @property
    def seeds(self) -> int:
        return len(self.first) + len(self.second) + len(self.open)


def order_of_onsets(pairs: Mapping[str, tuple[Onset, Onset]]) -> Order:
    """The order of two measures' onsets, by the seeds that have both, of which there is at least one."""
    by_sign: dict[int, list[str]] = {1: [], -1: [], 0: []}
    for seed, (one, other) in pairs.items():
        by_sign[_sign(one.ends, other.ends)].append(seed)
    first, told = len(by_sign[1]), len(by_sign[1]) + len(by_sign[-1])
    p = stats.binomtest(first, told, 0.5).pvalue if told and len(pairs) > 1 else math.nan
    leads = [_lead(one.ends, other.ends) for one, other in pairs.values()]
    of_seeds = tuple(by_sign[1]), tuple(by_sign[-1]), tuple(by_sign[0])
    return Order(*of_seeds, float(p), median_ends(leads), interval_ends(leads))


def _sign(one: Ends, other: Ends) -> int:
    """1 where `one` comes first, -1 where `other` does, 0 where their brackets overlap.

    An onset is after `low` and not after `high`, so brackets that meet at a step do not overlap.
    """
    if one.high <= other.low:
        return 1
    return -1 if other.high <= one.low else 0


def _lead(one: Ends, other: Ends) -> Ends:
    return Ends(other.low - one.high, other.high - one.low)
