"""How far the samples of a null model reach, and what that is called."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from jaxtyping import Float

ENOUGH = 40
"""Samples from which on 2.5 % of them are at least one: with fewer there is no 95 % range to speak of."""


class Range(NamedTuple):
    """low, high: along the axes of the samples; words: "95 % range", or "minimum to maximum of 3"."""

    low: Float[np.ndarray, "*axes"]
    high: Float[np.ndarray, "*axes"]
    words: str


def range_of(samples: Float[np.ndarray, "sample *axes"]) -> Range:
    """The central 95 % of the samples, or, of fewer than 40, the smallest and the largest. NaN samples do not count."""
    low, high = (0.0, 100.0) if len(samples) < ENOUGH else (2.5, 97.5)
    bounds = np.nanpercentile(samples, (low, high), axis=0)
    return Range(np.asarray(bounds[0]), np.asarray(bounds[1]), words_for(len(samples)))


def words_for(n: int) -> str:
    """What the range of so many samples is called."""
    if n >= ENOUGH:
        return "95 % range"
    return f"minimum to maximum of {n}" if n > 1 else "one sample"
