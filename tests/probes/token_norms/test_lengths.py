"""Lengths, growth and percentiles: what half precision hides, planted growth, and a bootstrap by brute force."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mesascope.probes.token_norms.lengths import (
    growth_factor,
    growth_r2,
    lengths,
    percentile_intervals,
    percentiles,
    whitened_lengths,
)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_lengths_of_stored_values_in_every_dtype(dtype: torch.dtype, rng: np.random.Generator) -> None:
    stored = torch.from_numpy(rng.normal(20, 5, (3, 4096))).to(dtype)  # squares sum to more than float16 holds
    exact = np.sqrt(
        (stored.numpy(force=True).astype(np.float64) if dtype != torch.bfloat16 else stored.double().numpy()) ** 2
        @ np.ones(4096)
    )
    np.testing.assert_allclose(lengths(stored).numpy(), exact, rtol=1e-12)


@pytest.mark.parametrize(
    ("size", "dtype"),
    [
        (1e20, torch.bfloat16),
        (1e-30, torch.bfloat16),
        (1e20, torch.float32),
        (1e-30, torch.float32),
        (6e4, torch.float16),
        (6e-8, torch.float16),
    ],
)
def test_nothing_overflows_or_vanishes(size: float, dtype: torch.dtype) -> None:
    stored = torch.full((2, 4096), size, dtype=dtype)
    np.testing.assert_allclose(lengths(stored).numpy(), 64 * float(stored[0, 0]), rtol=1e-12)


def test_planted_growth_is_found_exactly() -> None:
    norms = np.stack([3.0 * 1.045 ** np.arange(9), 2.0 * 0.5 ** np.arange(9)])
    np.testing.assert_allclose(growth_factor(norms), [1.045, 0.5], rtol=1e-12)
    np.testing.assert_allclose(growth_r2(norms), 1.0, rtol=1e-12)


def test_growth_of_noisy_norms_is_least_squares(rng: np.random.Generator) -> None:
    means = np.exp(rng.normal(size=7))
    slope, intercept = np.polyfit(np.arange(7), np.log(means), 1)
    residual = np.log(means) - intercept - slope * np.arange(7)
    assert growth_factor(means) == pytest.approx(np.exp(slope))
    total = ((np.log(means) - np.log(means).mean()) ** 2).sum()
    assert growth_r2(means) == pytest.approx(1 - residual @ residual / total)


def test_norms_that_stay_have_a_factor_of_one_and_no_r2() -> None:
    assert growth_factor(np.full(4, 2.0)) == 1
    assert np.isnan(growth_r2(np.full(4, 2.0)))
    for formula in (growth_factor, growth_r2):
        with pytest.raises(ValueError, match="at least 2"):
            formula(np.ones(1))


def test_percentile_intervals_are_those_of_resampled_documents(rng: np.random.Generator) -> None:
    """Against percentiles taken anew in each resample of documents whose tokens resemble each other."""
    documents = [rng.normal(rng.normal(), 0.5, 40) for _ in range(200)]
    values, owner = np.concatenate(documents), np.repeat(np.arange(200), 40)
    draws = rng.integers(0, 200, (500, 200))
    at = percentiles(values)
    below = np.stack([np.bincount(owner, values <= bound) for bound in at], axis=1) / 40
    low, high = percentile_intervals(values, below[draws].mean(axis=1))
    anew = np.array([percentiles(np.concatenate([documents[d] for d in draw])) for draw in draws])
    slow_low, slow_high = np.quantile(anew, (0.025, 0.975), axis=0)
    assert ((low < at) & (at < high)).all()
    np.testing.assert_allclose(high - low, slow_high - slow_low, rtol=0.3)
    np.testing.assert_allclose((high + low) / 2, (slow_high + slow_low) / 2, atol=0.15 * (slow_high - slow_low).max())


def test_percentiles_of_nothing_are_no_numbers() -> None:
    assert np.isnan(percentiles(np.zeros(0))).all()
    np.testing.assert_allclose(percentiles(np.arange(101.0)), [5, 50, 95])


def test_whitening_by_the_identity_leaves_the_distance_to_the_mean() -> None:
    rng = torch.Generator().manual_seed(1)
    rows = torch.randn(400, 3, generator=rng, dtype=torch.float64)
    out, weights = torch.randn(400, 3, generator=rng, dtype=torch.float64), torch.rand(400, generator=rng).double()
    share = (weights / weights.sum())[:, None]
    centred = out - (share * out).sum(dim=0)
    white = centred @ torch.linalg.inv(torch.linalg.cholesky(centred.mT @ (share * centred))).mT
    distance = (rows - (share * rows).sum(dim=0)).norm(dim=-1)
    np.testing.assert_allclose(whitened_lengths(rows, white, weights), distance, rtol=1e-9)
