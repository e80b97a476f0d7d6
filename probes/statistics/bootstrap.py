"""Intervals: the bootstrap over tasks for one checkpoint, the t-interval over seeds for a recipe."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from jaxtyping import Float, UInt16
from scipy import stats

from ...data.recipe import named_seed

RESAMPLES = 2_000
LEVEL = 0.95
_CHUNK = 100  # resamples at a time: bounds the float64 copy of their counts


@lru_cache(maxsize=6)  # one run takes means over as many different numbers of tasks
def resample_counts(n: int, seed: int) -> UInt16[np.ndarray, "resample task"]:
    """How often each of `n` tasks is drawn in each resample. One table for all measures pairs them."""
    rng = np.random.default_rng(named_seed(seed, "bootstrap"))
    counts = np.empty((RESAMPLES, n), dtype=np.uint16)
    for row in counts:
        row[:] = np.bincount(rng.integers(0, n, n), minlength=n)
    return counts


def bootstrap_means(samples: Float[np.ndarray, "task *axes"], seed: int) -> Float[np.ndarray, "resample *axes"]:
    """Means over tasks in each resample, in float64. The same `n` and `seed` draw the same tasks for every measure.

    Statistics that are no means (a ratio of means, a maximum over a path) are formed from these, resample by resample.
    """
    n = len(samples)
    flat = samples.reshape(n, -1).astype(np.float64)
    counts = resample_counts(n, seed)
    # an infinite sample makes a resample without it 0 * inf: NaN, as it should be; sums that are too large are infinite
    with np.errstate(invalid="ignore", over="ignore"):
        chunks = [counts[i : i + _CHUNK].astype(np.float64) @ flat for i in range(0, RESAMPLES, _CHUNK)]
    return (np.concatenate(chunks) / n).reshape(RESAMPLES, *samples.shape[1:])


def percentile_interval(resampled: Float[np.ndarray, "resample *axes"]) -> tuple[np.ndarray, np.ndarray]:
    """The central 95 % of a bootstrap distribution."""
    with np.errstate(invalid="ignore"):  # infinite means have no quantiles: NaN, without a warning
        low, high = np.quantile(resampled, [(1 - LEVEL) / 2, (1 + LEVEL) / 2], axis=0)
    return np.asarray(low), np.asarray(high)  # of a metric without axes NumPy makes scalars


def t_interval(points: Float[np.ndarray, "replicate *axes"]) -> tuple[np.ndarray, np.ndarray]:
    """95 % t-interval of a mean over few replicates; NaN below two.

    The percentile bootstrap over five seeds covers 83 %, not 95 %: for seeds only this one is used.
    """
    n = len(points)
    mean = np.asarray(points.mean(axis=0))
    if n < 2:
        return np.full_like(mean, np.nan), np.full_like(mean, np.nan)
    half = stats.t.ppf((1 + LEVEL) / 2, n - 1) * points.std(axis=0, ddof=1) / np.sqrt(n)
    return np.asarray(mean - half), np.asarray(mean + half)


def sandwich_interval(
    estimate: Float[np.ndarray, " setting"],
    scores: Float[np.ndarray, "task setting"],
    hessian: Float[np.ndarray, "setting setting"],
) -> tuple[np.ndarray, np.ndarray]:
    """95 % interval of fitted settings (M-estimators): how far they would move on other tuning tasks.

    scores: each task's gradient of its own loss at the estimate; hessian: that of the mean loss. The covariance is
    H⁻¹ S H⁻¹ / n (Huber 1967; White 1980). NaN for a setting that no task's loss depends on, and where the loss has no
    curvature.
    """
    half, moves = np.full_like(estimate, np.nan), scores.any(axis=0)
    scores, hessian = scores[:, moves], hessian[np.ix_(moves, moves)]
    try:
        bread = np.linalg.inv(hessian)
    except np.linalg.LinAlgError:
        return half, half.copy()
    covariance = bread @ (scores.T @ scores / len(scores)) @ bread / len(scores)
    with np.errstate(invalid="ignore"):  # of a loss that is all but flat, rounding may leave a variance below 0
        half[moves] = stats.norm.ppf((1 + LEVEL) / 2) * np.sqrt(np.diagonal(covariance))
    return estimate - half, estimate + half
