"""Settings of constructed GD++: the paper's γ, models of many layers, and where clips saturate."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from mesascope.data import Batch, LinearRegression
from mesascope.models import gdpp_transformer
from mesascope.probes import Findings
from mesascope.probes.comparing.behaviour import half_squared_error
from mesascope.probes.gd_alignment import constructed_fits
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


def test_they_are_fitted_on_the_first_tuning_tasks_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(constructed_fits, "UNTIED_TASKS", 60)
    shape, batch = ConstructedShape(6, 3, 1, 2, tied=False), tasks(90, 6, 3)
    fit = fit_gdpp(batch, shape, 90)
    first = fit_gdpp(batch[:60], shape, 90)
    assert (fit.learning_rates, fit.gammas[0]) == (first.learning_rates, first.gammas[0])
    assert {one.n for one in (*fit.learning_rates, *fit.gammas)} == {60}
    assert {one.n for one in fit_gdpp(batch, ConstructedShape(6, 3, 1, 2), 90).gammas} == {90}


def test_the_last_gamma_of_layers_with_their_own_moves_nothing(on_tasks: Callable[..., Findings]) -> None:
    fit = fit_gdpp(tasks(300, 6, 3), ConstructedShape(6, 3, 1, 2, tied=False), 300)
    assert np.isnan([fit.gammas[1].low, fit.gammas[1].high]).all()
    assert fit.gammas[0].low < fit.gammas[0].value < fit.gammas[0].high
    assert fit.learning_rates[1].low < fit.learning_rates[1].value < fit.learning_rates[1].high
    model = gdpp_transformer(6, [5.0, 7.0], [0.2, 0.0], 3, n_layers=2, tied=False)
    measures = on_tasks(model, n=40, n_context=6, d_in=3).measures
    assert "no interval" in measures["learned_gamma"].message
    assert measures["learned_learning_rate"].message == ""
