"""Intervals: against scipy, by coverage, and on data for which they do not exist."""

from __future__ import annotations

import numpy as np
import pytest
from mesascope.probes.statistics.bootstrap import (
    RESAMPLES,
    bootstrap_means,
    percentile_interval,
    resample_counts,
    sandwich_interval,
    t_interval,
)
from scipy import stats


def test_every_resample_draws_as_many_tasks_as_there_are() -> None:
    counts = resample_counts(37, seed=0)
    assert counts.shape == (RESAMPLES, 37)
    assert (counts.sum(axis=1) == 37).all()
    assert len({row.tobytes() for row in counts}) == RESAMPLES
    assert counts.mean(axis=0) == pytest.approx(np.ones(37), abs=0.12)
    assert not np.array_equal(counts, resample_counts(37, seed=1))


def test_means_are_the_means_of_the_drawn_tasks(rng: np.random.Generator) -> None:
    samples = rng.normal(size=(9, 2, 3))
    means, counts = bootstrap_means(samples, 5), resample_counts(9, 5)
    for i in (0, 99, 100, 1_999):
        np.testing.assert_allclose(means[i], np.repeat(samples, counts[i], axis=0).mean(axis=0), atol=1e-14)


def test_like_scipys_bootstrap(rng: np.random.Generator) -> None:
    samples = rng.exponential(size=400)
    theirs = stats.bootstrap((samples,), np.mean, method="percentile", n_resamples=20_000, rng=rng).confidence_interval
    low, high = percentile_interval(bootstrap_means(samples, 0))
    error = 0.1 * samples.std() / 20  # a tail quantile of 2,000 resamples is known to some 5 % of the standard error
    assert (low, high) == (pytest.approx(theirs.low, abs=error), pytest.approx(theirs.high, abs=error))


def test_measures_of_the_same_tasks_are_paired(rng: np.random.Generator) -> None:
    """The interval of a difference is that of the paired differences, and much tighter than unpaired ones."""
    difficulty = rng.exponential(size=300)
    a, b = difficulty + 0.01 * rng.normal(size=300), difficulty + 0.01 * rng.normal(size=300) + 0.02
    resampled_a, resampled_b = bootstrap_means(a, 7), bootstrap_means(b, 7)
    np.testing.assert_allclose(resampled_a - resampled_b, bootstrap_means(a - b, 7), atol=1e-13)
    low, high = percentile_interval(resampled_b - resampled_a)
    assert 0 < low < 0.02 < high < 0.03
    unpaired = percentile_interval(resampled_b - bootstrap_means(a, 8))
    assert unpaired[1] - unpaired[0] > 10 * (high - low)


def test_coverage(rng: np.random.Generator) -> None:
    """95 % intervals over 60 skewed tasks hold the true mean in about 95 of 100 experiments, sums never do."""
    covered = 0
    for _ in range(200):
        low, high = percentile_interval(bootstrap_means(rng.exponential(size=60), 1))
        covered += int(low < 1.0 < high)
    assert 0.88 <= covered / 200 <= 0.99


def test_a_mean_that_is_infinite_has_no_interval() -> None:
    samples = np.array([[1.0, 1.0], [2.0, np.inf], [3.0, 1.0]])
    low, high = percentile_interval(bootstrap_means(samples, 0))
    assert 1.0 <= low[0] < high[0] <= 3.0
    assert np.isnan([low[1], high[1]]).all()


def test_few_seeds_get_a_t_interval(rng: np.random.Generator) -> None:
    points = rng.normal(size=(5, 3))
    low, high = t_interval(points)
    for column in range(3):
        mean, error = points[:, column].mean(), stats.sem(points[:, column])
        expected = stats.t.interval(0.95, 4, loc=mean, scale=error)
        assert (low[column], high[column]) == pytest.approx(expected)


def test_one_seed_has_none() -> None:
    low, high = t_interval(np.array([[1.0, 2.0]]))
    assert np.isnan(low).all()
    assert np.isnan(high).all()


def test_fitted_settings_move_as_far_as_the_sandwich_says(rng: np.random.Generator) -> None:
    """Least squares with unequal noise: against refits on bootstrapped tasks, which assume nothing."""
    x = rng.normal(size=2_000)
    y = 1.5 * x + x**2 * rng.normal(size=2_000)

    def fit(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b) / (a @ a))

    found = fit(x, y)
    scores = -(y - found * x) * x
    low, high = sandwich_interval(np.array([found]), scores[:, None], np.array([[np.mean(x**2)]]))
    refits = [fit(x[i], y[i]) for i in (rng.integers(0, 2_000, 2_000) for _ in range(1_000))]
    expected = np.quantile(refits, [0.025, 0.975])
    assert (low[0], high[0]) == (pytest.approx(expected[0], abs=0.02), pytest.approx(expected[1], abs=0.02))
    naive = 1.96 * np.std(y - found * x) / np.sqrt(x @ x)
    assert (high[0] - low[0]) / 2 > 1.5 * naive, "the data were meant to need a sandwich"


def test_a_setting_without_curvature_has_no_interval() -> None:
    low, high = sandwich_interval(np.ones(1), np.zeros((4, 1)), np.zeros((1, 1)))
    assert np.isnan([*low, *high]).all()


def test_a_setting_without_effect_leaves_the_others_their_intervals() -> None:
    scores = np.random.default_rng(0).normal(size=(50, 2)) * [1.0, 0.0]
    low, high = sandwich_interval(np.ones(2), scores, np.diag([2.0, 0.0]))
    assert np.isnan([low[1], high[1]]).all()
    alone = sandwich_interval(np.ones(1), scores[:, :1], np.full((1, 1), 2.0))
    assert (low[0], high[0]) == (alone[0][0], alone[1][0])
