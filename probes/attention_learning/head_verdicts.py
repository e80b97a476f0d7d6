"""Which heads follow beta: their agreement beside every draw of both nulls."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool
from scipy.stats import binom

from ..comparing.evidence import over_checkpoints
from ..findings import head_name
from ..measure import Measure
from .names import AGAINST, BETA, FOLLOWS, OTHER_TARGETS, PAIR, SHUFFLED
from .standing import ROUNDING

NONE = "none"
ENOUGH = 19
"""Draws of a null without which nothing is told: an agreement beyond all of fewer has p above 0.05 on either side."""
FEWEST = 10
"""Sequences without which nothing is told: intervals by the bootstrap over fewer are too narrow."""

SIGNIFICANT = 0.05

OfHeads = Bool[np.ndarray, "layer head"]


@dataclass(frozen=True, eq=False)
class HeadsBesideNulls:
    """The heads whose whole interval lies above all draws of both nulls, and those where it lies below all.

    told:   heads that have an interval and enough draws
    draws:  of each null
    """

    above: OfHeads
    below: OfHeads
    told: OfHeads
    draws: int

    @property
    def by_chance(self) -> float:
        """At most so many would lie above on average, and as many below, if heads did not look at what keys say."""
        return int(self.told.sum()) / (self.draws + 1)

    @property
    def could_be_chance(self) -> bool:
        """Whether so many heads, or more, would lie above with a probability of 0.05 or more, were that all of it."""
        return float(binom.sf(self.above.sum() - 1, self.told.sum(), 1 / (self.draws + 1))) >= SIGNIFICANT


def head_agreement(measures: Mapping[str, Measure], pair: str = BETA.name) -> Measure | None:
    """That of every head; None over several seeds, whose heads do not correspond, and where there is none."""
    measure = measures.get("head_agreement")
    if measure is None or PAIR not in measure.axes:
        return None
    chosen = measure.sel(**{PAIR: pair})
    return chosen if chosen.axes == ("layer", "head") and chosen.has_number else None


def too_few(measure: Measure) -> bool:
    """Whether there are too few sequences to tell."""
    return not over_checkpoints(measure) and measure.n < FEWEST


def beside_nulls(measures: Mapping[str, Measure]) -> HeadsBesideNulls | None:
    """None where there is too little to tell."""
    agreement = head_agreement(measures)
    if agreement is None or too_few(agreement) or not {SHUFFLED, OTHER_TARGETS} <= agreement.nulls.keys():
        return None
    (low, high), nulls = agreement.interval, [agreement.nulls[name] for name in (SHUFFLED, OTHER_TARGETS)]
    draws = np.min([np.isfinite(null).sum(axis=0) for null in nulls], axis=0)
    told = np.isfinite(low) & (draws >= ENOUGH)
    if not told.any():
        return None
    samples = np.concatenate([null[:, told] for null in nulls])
    above, below = np.zeros_like(told), np.zeros_like(told)
    above[told], below[told] = low[told] > samples.max(axis=0) + ROUNDING, high[told] < samples.min(axis=0) - ROUNDING
    return HeadsBesideNulls(above, below, told, int(draws[told].min()))


def head_verdicts(measures: Mapping[str, Measure]) -> dict[str, str]:
    """A verdict for each head of which something can be told."""
    beside = beside_nulls(measures)
    if beside is None:
        return {}
    verdicts = np.where(beside.above, FOLLOWS, np.where(beside.below, AGAINST, NONE))
    return {head_name((int(at[0]), int(at[1]))): str(verdicts[tuple(at)]) for at in np.argwhere(beside.told)}
