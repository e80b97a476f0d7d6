"""Heads whose number lies beyond every draw of its nulls, and how many would by chance."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float
from scipy.stats import binom

from ..measure import Measure

ENOUGH = 19
"""Draws of a null without which nothing is told: a number beyond all of fewer has p above 0.05 on either side."""
FEWEST = 10
"""Sequences without which nothing is told: intervals by the bootstrap over fewer are too narrow."""
ROUNDING = 1e-9
"""What sums in another order differ by at most: numbers closer than that are equal."""

SIGNIFICANT = 0.05

OfHeads = Bool[np.ndarray, "layer head"]


@dataclass(frozen=True, eq=False)
class HeadsBesideNulls:
    """The heads whose whole interval lies above all draws of all nulls, and those where it lies below all.

    told:   heads that have an interval and enough draws
    draws:  of the null and the head that have fewest
    """

    above: OfHeads
    below: OfHeads
    told: OfHeads
    draws: int

    @property
    def by_chance(self) -> float:
        """At most so many would lie above on average, and as many below, if the null were all there is to a head."""
        return int(self.told.sum()) / (self.draws + 1)

    @property
    def could_be_chance(self) -> bool:
        """Whether so many heads, or more, would lie above with a probability of 0.05 or more, were that all of it."""
        return float(binom.sf(self.above.sum() - 1, self.told.sum(), 1 / (self.draws + 1))) >= SIGNIFICANT


def heads_beside_nulls(
    measure: Measure, nulls: Sequence[Float[np.ndarray, "draw layer head"]]
) -> HeadsBesideNulls | None:
    """A measure with the axes layer and head; None where no head has an interval and enough draws of each null."""
    (low, high) = measure.interval
    draws = np.min([np.isfinite(null).sum(axis=0) for null in nulls], axis=0)
    told = np.isfinite(low) & (draws >= ENOUGH)
    if not told.any():
        return None
    samples = np.concatenate([null[:, told] for null in nulls])
    above, below = np.zeros_like(told), np.zeros_like(told)
    above[told] = low[told] > np.nanmax(samples, axis=0) + ROUNDING
    below[told] = high[told] < np.nanmin(samples, axis=0) - ROUNDING
    return HeadsBesideNulls(above, below, told, int(draws[told].min()))
