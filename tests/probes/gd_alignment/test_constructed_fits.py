"""Settings of constructed GD++: the paper's γ, models of many layers, and where clips saturate."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mesascope.data import Batch, LinearRegression
from mesascope.models import gdpp_transformer
from mesascope.probes import Findings
from mesascope.probes.comparing.behaviour import half_squared_error
from mesascope.probes.gd_alignment.constructed import ConstructedShape, constructed_gdpp
from mesascope.probes.gd_alignment.constructed_fits import GDPPFit, fit_gdpp


def tasks(n: int, n_context: int = 10, d_in: int = 10, seed: int = 3) -> Batch:
    return LinearRegression(n_context=n_context, d_in=d_in).sample(n, seed=seed)


def loss(shape: ConstructedShape, rates: Any, gammas: Any, batch: Batch) -> float:
    model = constructed_gdpp(shape, list(map(float, rates)), list(map(float, gammas)))
    return float(half_squared_error(model(batch.inputs), batch.targets).mean())


def loss_of(fit: GDPPFit, shape: ConstructedShape, batch: Batch) -> float:
    return loss(shape, [one.value for one in fit.learning_rates], [one.value for one in fit.gammas], batch)


@pytest.mark.parametrize(("n_context", "gamma"), [(10, 0.179), (25, 0.099), (50, 0.056), (100, 0.029)])
def test_gamma_is_the_papers_for_all_lengths_of_context(n_context: int, gamma: float) -> None:
    """Of von Oswald et al. 2023, appendix A.10: two layers that share (γ, η), inputs of width 10."""
    shape = ConstructedShape(n_context, 10, 1, 2)
    n_tasks = {10: 10_000, 25: 1000, 50: 700, 100: 400}
    (fitted,) = fit_gdpp(tasks(n_tasks[n_context], n_context), shape, 2048).gammas
    assert fitted.value == pytest.approx(gamma, rel=0.05)
    assert fitted.low < fitted.value < fitted.high


def test_ten_layers_that_clip_find_the_lowest_point_there_is() -> None:
    """The clip makes kinks, and a little beyond the best rate tasks diverge: a scan all around finds no lower point."""
    shape, batch = ConstructedShape(10, 10, 1, 10, activation_clip=10.0), tasks(100)
    fit = fit_gdpp(batch, shape, 100)
    rates, gammas = np.geomspace(8, 30, 8), np.linspace(0, 0.24, 7)
    scanned = min(loss(shape, [rate], [gamma], batch) for rate in rates for gamma in gammas)
    assert loss_of(fit, shape, batch) < 1.02 * scanned
    free = fit_gdpp(batch, ConstructedShape(10, 10, 1, 10), 100)
    assert loss_of(free, ConstructedShape(10, 10, 1, 10), batch) < 0.9 * loss_of(fit, shape, batch)


def test_layers_with_settings_of_their_own_are_at_least_as_good_as_any_that_share() -> None:
    batch = tasks(400)
    own, shared = ConstructedShape(10, 10, 1, 3, tied=False), ConstructedShape(10, 10, 1, 3)
    assert loss_of(fit_gdpp(batch, own, 400), own, batch) < 0.8 * loss_of(fit_gdpp(batch, shared, 400), shared, batch)


def own_layers(n_layers: int, **changed: Any) -> ConstructedShape:
    return ConstructedShape(10, 10, 1, n_layers, tied=False, **changed)


@pytest.mark.parametrize(("n_layers", "least", "most"), [(2, 0.085, 0.105), (3, 0.039, 0.045), (5, 0.0055, 0.0075)])
def test_they_answer_tasks_that_they_were_not_fitted_on_as_well(n_layers: int, least: float, most: float) -> None:
    """Of 2,000 tuning tasks learned by heart, the fit has .011 to .025 there, .021 to .043 on others, and 50 on single
    ones of them.
    """
    fit, fresh = fit_gdpp(tasks(1000), own_layers(n_layers), 1000), tasks(8000, seed=4)
    rates, gammas = ([one.value for one in fits] for fits in (fit.learning_rates, fit.gammas))
    losses = half_squared_error(constructed_gdpp(own_layers(n_layers), rates, gammas)(fresh.inputs), fresh.targets)
    assert least < float(losses.mean()) < most
    assert float(losses.max()) < 5 or n_layers == 2


@pytest.mark.parametrize("d_out", [1, 2])
def test_nothing_around_settings_of_layers_is_better(d_out: int) -> None:
    """Asked of the constructed model itself, which moves every token."""
    shape, rng = ConstructedShape(6, 3, d_out, 3, tied=False), np.random.default_rng(0)
    batch = LinearRegression(n_context=6, d_in=3, d_out=d_out).sample(500, seed=3)
    fit = fit_gdpp(batch, shape, 500)
    found = np.array([[one.value for one in fits] for fits in (fit.learning_rates, fit.gammas)])
    around = [found * np.exp(size * rng.normal(size=found.shape)) for size in (0.01, 0.03, 0.1) for _ in range(20)]
    assert min(loss(shape, *settings, batch) for settings in around) > 0.999 * loss_of(fit, shape, batch)
    assert max(loss(shape, *settings, batch) for settings in around[:20]) > 1.001 * loss_of(fit, shape, batch)


def test_dampening_is_made_up_for() -> None:
    batch, shape = tasks(200, 6, 3), ConstructedShape(6, 3, 1, 3, tied=False)
    whole, half = (fit_gdpp(batch, replace(shape, dampening=dampening), 200) for dampening in (1.0, 0.5))
    for one, other in zip((*whole.learning_rates, *whole.gammas), (*half.learning_rates, *half.gammas), strict=True):
        assert [other.value, other.low, other.high] == pytest.approx(
            [2 * one.value, 2 * one.low, 2 * one.high], nan_ok=True
        )
    assert loss_of(half, replace(shape, dampening=0.5), batch) == pytest.approx(loss_of(whole, shape, batch))


def test_where_a_clip_cuts_they_are_fitted_on_the_model_that_clips() -> None:
    batch, free, cut = tasks(300), own_layers(3), own_layers(3, activation_clip=1.0)
    without, within = fit_gdpp(batch, free, 300), fit_gdpp(batch, cut, 300)
    assert loss_of(within, cut, batch) < 0.95 * loss_of(without, cut, batch)
    far = fit_gdpp(batch, own_layers(3, activation_clip=1e6), 300)
    assert [one.value for one in far.learning_rates] == [one.value for one in without.learning_rates]


def test_the_last_gamma_of_layers_with_their_own_moves_nothing(on_tasks: Callable[..., Findings]) -> None:
    fit = fit_gdpp(tasks(300, 6, 3), ConstructedShape(6, 3, 1, 2, tied=False), 300)
    assert np.isnan([fit.gammas[1].low, fit.gammas[1].high]).all()
    assert fit.gammas[0].low < fit.gammas[0].value < fit.gammas[0].high
    assert fit.learning_rates[1].low < fit.learning_rates[1].value < fit.learning_rates[1].high
    model = gdpp_transformer(6, [5.0, 7.0], [0.2, 0.0], 3, n_layers=2, tied=False)
    measures = on_tasks(model, n=40, n_context=6, d_in=3).measures
    assert "no interval" in measures["learned_gamma"].message
    assert measures["learned_learning_rate"].message == ""
