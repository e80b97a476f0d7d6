"""Rank correlations beside SciPy's, partial ones beside residuals, and resampled moments beside repeated tokens."""

from __future__ import annotations

import numpy as np
import pytest
from mesascope.probes.statistics.ranks import (
    correlations,
    document_moments,
    independent_interval,
    partial_given,
    spearman,
    standard_ranks,
)
from scipy import stats


@pytest.fixture
def tokens(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three columns and three covariates that depend on each other, with ties, in twelve documents of unequal size."""
    y = rng.normal(size=(300, 3))
    y[:, 1] += 0.7 * y[:, 0]
    y[:, 2] = np.round(y[:, 2] + 0.5 * y[:, 1])
    x = np.exp(y @ rng.normal(size=(3, 3)) + rng.normal(size=(300, 3)))
    return x, y, rng.integers(0, 12, 300)


def test_spearman_is_scipys(tokens: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    x, y, _ = tokens
    slow = [[stats.spearmanr(a, b).statistic for b in y.T] for a in x.T]
    np.testing.assert_allclose(spearman(x, y), slow, rtol=1e-12)


def test_what_is_constant_has_no_correlation(tokens: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    x, y, owner = tokens
    y[:, 1] = 3.0
    found = spearman(x, y)
    assert np.isnan(found[:, 1]).all()
    assert np.isfinite(found[:, [0, 2]]).all()
    all_of_them = correlations(document_moments(standard_ranks(x), standard_ranks(y), owner, 12).sum(axis=0), 3, 3)
    # controlling for a constant changes nothing
    np.testing.assert_allclose(partial_given(all_of_them, 0, 1, (2, 3)), partial_given(all_of_them, 0, 1, (3,)))


@pytest.mark.parametrize(("covariate", "given"), [(0, ()), (0, (1,)), (0, (1, 2)), (2, (0, 1)), (1, (0, 1, 2))])
def test_partial_correlations_are_those_of_residuals(
    tokens: tuple[np.ndarray, np.ndarray, np.ndarray], covariate: int, given: tuple[int, ...]
) -> None:
    x, y, owner = tokens
    a, b = standard_ranks(x), standard_ranks(y)
    moments = document_moments(a, b, owner, 12).sum(axis=0)
    found = partial_given(correlations(moments, 3, 3), 0, 1 + covariate, tuple(1 + z for z in given))
    controls = b[:, [z for z in given if z != covariate]]
    left = [v - controls @ np.linalg.lstsq(controls, v, rcond=None)[0] for v in (*a.T, b[:, covariate])]
    slow = [left[-1] @ residual / np.sqrt((left[-1] @ left[-1]) * (residual @ residual)) for residual in left[:-1]]
    np.testing.assert_allclose(found, slow, rtol=1e-10)


def test_a_resample_of_documents_is_one_of_their_tokens(tokens: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    x, y, owner = tokens
    a, b = standard_ranks(x), standard_ranks(y)
    moments = document_moments(a, b, owner, 12)
    counts = np.random.default_rng(1).integers(0, 3, 12)
    found = correlations(counts @ moments, 3, 3)
    rows = np.concatenate([np.tile(np.flatnonzero(owner == d), times) for d, times in enumerate(counts)])
    for column in range(3):
        slow = np.corrcoef(np.column_stack([a[rows, column], b[rows]]), rowvar=False)
        np.testing.assert_allclose(found[column], slow, atol=1e-12)


def test_tokens_of_no_document_count_nowhere(tokens: tuple[np.ndarray, np.ndarray, np.ndarray]) -> None:
    x, y, owner = tokens
    moments = document_moments(standard_ranks(x), standard_ranks(y), owner, 13)
    assert not moments[12].any()
    assert moments[:, 0].sum() == 300


def test_what_the_control_explains_entirely_leaves_no_correlation() -> None:
    full = np.array([[1.0, 0.5, 1.0], [0.5, 1.0, 0.5], [1.0, 0.5, 1.0]])
    assert np.isnan(partial_given(full, 0, 1, (2,)))


def test_interval_of_independent_items(rng: np.random.Generator) -> None:
    low, high = independent_interval(np.array([0.0, 0.6, 1.0]), 103)
    half = 1.959963984540054 / 10
    np.testing.assert_allclose([low[0], high[0]], [-np.tanh(half), np.tanh(half)], rtol=1e-9)
    np.testing.assert_allclose(np.arctanh(high[1]) - np.arctanh(low[1]), 2 * half * np.sqrt(1.18), rtol=1e-9)
    assert (low[2], high[2]) == (1, 1)
    assert np.isnan(independent_interval(np.array(0.5), 3)[0])
