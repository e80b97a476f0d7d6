"""The filter of GD++ by layers, its derivatives, and how far beyond seen tasks it reaches."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mesascope.data import LinearRegression
from mesascope.probes.algorithms.filtered import gdpp_filter, gdpp_layers_filter
from mesascope.probes.algorithms.spectrum import decompose
from mesascope.probes.gd_alignment.gdpp_by_layer import enlarged, expected_largest, fit_by_layer

RATES, GAMMAS = (3.0, 20.0, 110.0), (0.25, 1.8, 7.0)


def test_the_filter_is_what_tokens_do() -> None:
    """In NumPy, token by token: y_j <- y_j - (η/N) Σ y_i (x_i·x_j), x_j <- x_j - γ Σ x_i (x_i·x_j)."""
    tokens = LinearRegression(n_context=5, d_in=3, d_out=2).sample(7, seed=1).inputs.double()
    spectrum = decompose(tokens, 3)
    g = gdpp_layers_filter(spectrum.s2, 5, GAMMAS, RATES)
    filtered = (g[..., None] * spectrum.without_filter).sum(dim=1).numpy()
    for task, answer in zip(tokens.numpy(), filtered, strict=True):
        x, y = task[:, :3].copy(), task[:, 3:].copy()
        for rate, gamma in zip(RATES, GAMMAS, strict=True):
            scores = x @ x[:-1].T
            y, x = y - rate / 5 * scores @ y[:-1], x - gamma * scores @ x[:-1]
        assert answer == pytest.approx(-y[-1], rel=1e-10)


def test_equal_settings_are_those_that_layers_share() -> None:
    s2 = torch.rand(4, 3, dtype=torch.float64)
    assert torch.equal(gdpp_filter(s2, 6, 3, 0.2, 4.0), gdpp_layers_filter(s2, 6, (0.2,) * 3, (4.0,) * 3))


def test_the_tail_of_unseen_tasks_is_extrapolated() -> None:
    """Of an exponential law the likeliest largest of n is log n."""
    drawn = [expected_largest(np.random.default_rng(seed).exponential(size=2000)) for seed in range(30)]
    assert np.mean(drawn) == pytest.approx(np.log(200_000), abs=0.3)
    assert expected_largest(np.array([2.0, 2.0, 2.0])) == 2.0


def test_tasks_beyond_all_that_were_seen_do_not_ruin_the_loss() -> None:
    """Fitted without room for them, one of 8,000 fresh tasks has a loss of 10³⁰ and more."""
    batch = LinearRegression(n_context=10, d_in=10).sample(1000, seed=1)
    spectrum = decompose(batch.inputs, 10)
    fits = fit_by_layer(spectrum, batch.targets, 5)
    rates, gammas = ([fit.value for fit in half] for half in (fits[:5], fits[5:]))
    larger = torch.linspace(0.0, 1.15 * float(spectrum.s2.max()), 1000, dtype=torch.float64)[:, None]
    left = 1 - larger * gdpp_layers_filter(larger, 10, gammas, rates)
    assert float(left.abs().max()) < 2


def test_larger_tasks_have_the_same_teachers() -> None:
    batch = LinearRegression(n_context=5, d_in=3, d_out=2).sample(6, seed=1)
    spectrum, larger = decompose(batch.inputs, 3), decompose(batch.inputs * 1.5, 3)  # y = W x, so x and y alike
    s2, without_filter, targets = enlarged(spectrum, batch.targets.double(), torch.tensor([2.25], dtype=torch.float64))
    torch.testing.assert_close(s2[0], larger.s2)
    torch.testing.assert_close(without_filter[0].abs(), larger.without_filter.abs())
    torch.testing.assert_close(targets[0], batch.targets.double() * 1.5)


def test_settings_of_no_finite_loss_are_not_a_number() -> None:
    batch = LinearRegression(n_context=4, d_in=2).sample(20, seed=1)
    spectrum = decompose(batch.inputs, 2)
    fits = fit_by_layer(spectrum, batch.targets * float("nan"), 2)
    assert np.isnan([fit.value for fit in fits]).all()
