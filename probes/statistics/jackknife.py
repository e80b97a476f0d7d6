"""The jackknife: intervals from estimates with one group left out each, for sums too wide to be resampled."""

from __future__ import annotations

import numpy as np
from jaxtyping import Float
from scipy import stats

from .bootstrap import LEVEL


def left_out_sums(sums: Float[np.ndarray, "group *axes"]) -> Float[np.ndarray, "group *axes"]:
    """The sum over all groups but one, for each."""
    return sums.sum(axis=0) - sums


def jackknife_interval(
    estimate: Float[np.ndarray, "*axes"], left_out: Float[np.ndarray, "group *axes"]
) -> tuple[Float[np.ndarray, "*axes"], Float[np.ndarray, "*axes"]]:
    """95 % t-interval from estimates with one group left out each (Tukey 1958); NaN with fewer than two groups.

    The standard error is √((n - 1) / n · Σ (left out - their mean)²).
    """
    n = len(left_out)
    if n < 2:
        return np.full(estimate.shape, np.nan), np.full(estimate.shape, np.nan)
    error = np.sqrt((n - 1) / n * ((left_out - left_out.mean(axis=0)) ** 2).sum(axis=0))
    half = stats.t.ppf((1 + LEVEL) / 2, n - 1) * error
    return np.asarray(estimate - half), np.asarray(estimate + half)
