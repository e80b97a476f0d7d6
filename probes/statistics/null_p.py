"""Is a value one of the samples of a null? An exact test by rank, with no assumption about their distribution."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float

_ROUNDING = 1e-12
"""Of the largest number: distances that differ by less are the same."""


def smallest_p(samples: int) -> float:
    """The smallest p that so many samples of a null can give: 19 are needed for 0.05."""
    return 1 / (samples + 1)


def p_words(p: float, samples: int) -> str:
    """p as it is written; where no sample is as far out, what so few of them can show at most."""
    at_the_floor = p <= smallest_p(samples) * (1 + _ROUNDING)
    return f"p ≤ 1/{samples + 1:,}" if at_the_floor else f"p = {p:.2g}"


def two_sided_p(
    values: Float[np.ndarray, "*axes"], samples: Float[np.ndarray, "sample *axes"]
) -> Float[np.ndarray, "*axes"]:
    """p = (1 + samples at least as far out as the value) / (n + 1), where "out" is away from the mean of all n + 1.

    Both sides count. The value is itself in the mean, so that value and samples are treated alike: where they are
    exchangeable, each is as likely to be the farthest, and P(p <= a) <= a whatever their distribution. A mean of the
    samples alone would be nearer to them than to the value, and p too small. In the middle of the samples p is near 1;
    beyond all of them it is `smallest_p`, unless one on the other side is as far from the mean.

    Samples that are not finite do not count. NaN where there is no value or no sample.
    """
    held, defined = np.isfinite(samples), np.isfinite(values)
    n = np.asarray(held.sum(axis=0))
    everyone = np.concatenate([np.where(defined, values, 0.0)[None], np.where(held, samples, 0.0)])
    distance = np.abs(everyone - everyone.sum(axis=0) / (n + 1))
    reached = distance[0] - _ROUNDING * np.abs(everyone).max(axis=0)
    p = (1 + np.sum(held & (distance[1:] >= reached), axis=0)) / (n + 1)
    return np.where(defined & (n > 0), p, np.nan)
