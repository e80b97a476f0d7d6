"""One setting fitted on a logarithmic scale: where the least value is, with an interval, and what has none."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import astuple

import numpy as np
import pytest
import torch
from mesascope.data import LinearRegression
from mesascope.probes.algorithms import algorithm as room
from mesascope.probes.algorithms.algorithm import Algorithm, fit_each
from mesascope.probes.algorithms.filters import Descent, GeometricSums
from mesascope.probes.algorithms.fitting import GRID, fit_log_scale, given
from mesascope.probes.algorithms.named import MINIMUM_NORM, RIDGE, ZERO, gradient_descent
from mesascope.probes.algorithms.spectrum import decompose


def test_the_least_value_is_found_to_all_its_digits(rng: np.random.Generator) -> None:
    """Mean of (log s - a)² over tasks: least at the mean of a, whose standard error is that of a mean."""
    a = rng.normal(0.7, 0.3, size=400)
    fit = fit_log_scale(lambda setting: (np.log(setting) - a) ** 2, 1e-3, 1e3)
    assert np.log(fit.value) == pytest.approx(a.mean(), rel=1e-9)
    half = 1.959964 * a.std() / 20
    assert [np.log(fit.low), np.log(fit.high)] == pytest.approx([a.mean() - half, a.mean() + half], rel=1e-4)
    assert (fit.n, fit.given) == (400, False)


def test_the_deeper_of_two_valleys_is_found() -> None:
    def objective(setting: float) -> np.ndarray:
        x = np.log(setting)
        return np.array([min((x + 4) ** 2, (x - 3) ** 2 - 0.5)])

    assert fit_log_scale(objective, 1e-4, 1e4).value == pytest.approx(np.exp(3), rel=1e-6)


def parabola(least: float, tried: list[float] | None = None) -> Callable[[float], np.ndarray]:
    """Least at this setting; `tried` gets what was asked for."""

    def objective(setting: float) -> np.ndarray:
        if tried is not None:
            tried.append(setting)
        return np.array([(np.log(setting) - np.log(least)) ** 2])

    return objective


@pytest.mark.parametrize("least", [3e-7, 9e-3, 0.011, 90.0, 110.0, 2e7])
def test_a_range_is_widened_where_the_least_value_is_at_its_end(least: float) -> None:
    """By a million: from 1e-2 … 1e2 to 1e-8 … 1e8."""
    fit = fit_log_scale(parabola(least), 1e-2, 1e2)
    assert (fit.value, fit.at_end) == (pytest.approx(least), False)


def test_a_range_with_the_least_value_inside_is_not_widened() -> None:
    tried: list[float] = []
    fit_log_scale(parabola(30.0, tried), 1e-2, 1e2)
    assert min(tried) == pytest.approx(1e-2)
    assert max(tried) == pytest.approx(1e2)
    assert len(tried) < 110
    fit_log_scale(parabola(300.0, tried), 1e-2, 1e2)
    assert 1e8 < max(tried) < 2e8  # widened at this end
    assert min(tried) == pytest.approx(1e-2)  # and not at the other


@pytest.mark.parametrize(("rising", "low", "high"), [(True, 5e-9, 1e-8), (False, 1e8, 2e8)])
def test_a_least_value_at_an_end_of_the_widened_range_stays_there(rising: bool, low: float, high: float) -> None:
    fit = fit_log_scale(lambda setting: np.array([setting if rising else 1 / setting]), 1e-2, 1e2)
    assert low < fit.value < high
    assert fit.at_end


@pytest.mark.parametrize(("limit", "at_end"), [(1.0, True), (1.1, False)])
def test_a_loss_that_levels_off_is_at_its_end(limit: float, at_end: bool) -> None:
    """To 1 + 1/setting and to no lower a value; beside a loss that rises again."""
    fit = fit_log_scale(lambda s: np.array([max(1 + 1e-4 / s, limit * (s > 1e6))]), 1e-2, 1e2)
    assert fit.at_end == at_end


def test_sums_that_overflow_are_no_settings() -> None:
    """Where each task's value is finite and their sum is not."""
    fit = fit_log_scale(lambda s: np.full(4, 1e308) if s > 1 else np.full(4, (s - 0.5) ** 2), 0.1, 10)
    assert fit.value == pytest.approx(0.5)


def test_what_is_finite_nowhere_has_no_setting() -> None:
    fit = fit_log_scale(lambda setting: np.array([np.nan, 1.0]), 1e-2, 1e2)
    assert np.isnan([fit.value, fit.low, fit.high]).all()
    assert fit.n == 2
    assert fit_log_scale(lambda s: np.array([np.inf if s > 1 else (s - 0.5) ** 2]), 0.1, 10).value == pytest.approx(0.5)


def test_ends_of_an_interval_are_finite() -> None:
    """Of a setting on which tasks do not agree at all."""
    apart = np.array([-2000.0, 0.0, 2000.0])
    fit = fit_log_scale(lambda setting: (np.log(setting) - apart) ** 2, 1e-2, 1e2)
    assert 1e100 < fit.high < np.inf
    assert 0 < fit.low < 1e-100


def test_a_given_setting_has_no_interval() -> None:
    fit = given(3.0)
    assert (fit.value, fit.n, fit.given) == (3.0, 0, True)
    assert np.isnan([fit.low, fit.high]).all()


FREE = [(RIDGE, 0.3), (gradient_descent(1), 4.0), (gradient_descent(3), 2.0)]


@pytest.mark.parametrize(("algorithm", "setting"), FREE, ids=lambda value: getattr(value, "name", str(value)))
def test_an_algorithm_finds_its_own_setting_in_its_predictions(algorithm: Algorithm, setting: float) -> None:
    tasks = decompose(LinearRegression(6, 4).sample(50, seed=3).inputs, 4)
    fit = algorithm.fit(tasks, algorithm.predictions(tasks, setting))
    assert fit.value == pytest.approx(setting, rel=1e-9)
    assert algorithm.fit(tasks, algorithm.predictions(tasks, 1.5 * setting)).value != pytest.approx(setting, rel=0.1)


@pytest.mark.parametrize(("scale", "penalty"), [(1e3, 1e5), (1e-4, 1e-8), (1.0, 1e-8)])
def test_penalties_of_inputs_at_any_scale_are_found(scale: float, penalty: float) -> None:
    tasks = decompose(LinearRegression(6, 4, input_range=scale).sample(50, seed=3).inputs, 4)
    fit = RIDGE.fit(tasks, RIDGE.predictions(tasks, penalty))
    assert (fit.value, fit.at_end) == (pytest.approx(penalty, rel=1e-6), False)


@pytest.mark.parametrize("steps", [1, 3])
def test_learning_rates_of_small_inputs_are_found(steps: int) -> None:
    tasks = decompose(LinearRegression(6, 4, input_range=1e-4).sample(50, seed=3).inputs, 4)
    fit = gradient_descent(steps).fit(tasks, gradient_descent(steps).predictions(tasks, 3e8))
    assert (fit.value, fit.at_end) == (pytest.approx(3e8, rel=1e-6), False)


def test_a_penalty_goes_to_its_end_for_least_squares_and_for_zero() -> None:
    tasks = decompose(LinearRegression(6, 4).sample(50, seed=3).inputs, 4)
    for algorithm, low, high in ((MINIMUM_NORM, 5e-13, 1e-12), (ZERO, 1e10, 2e10)):
        fit = RIDGE.fit(tasks, algorithm.predictions(tasks))
        assert low < fit.value < high
        assert fit.at_end


def test_an_algorithm_without_a_setting_fits_none() -> None:
    tasks = decompose(LinearRegression(6, 4).sample(5, seed=3).inputs, 4)
    with pytest.raises(ValueError, match="zero has no setting"):
        ZERO.fit(tasks, ZERO.predictions(tasks))


@pytest.mark.parametrize("at_once", [10_000, 7])
def test_what_is_fitted_together_is_what_is_fitted_alone(monkeypatch: pytest.MonkeyPatch, at_once: int) -> None:
    monkeypatch.setattr(room, "SCANNED", at_once)
    tasks = decompose(LinearRegression(6, 4, 2).sample(30, seed=3).inputs, 4)
    aim = RIDGE.predictions(tasks, 0.2)
    free = [RIDGE, *map(gradient_descent, (1, 2, 3, 7, 12, 33))]
    together = fit_each(free, tasks, aim)
    assert list(together) == [one.name for one in free]
    for one in free:
        assert astuple(together[one.name]) == pytest.approx(astuple(one.fit(tasks, aim)), rel=1e-9)


def test_descents_fitted_together_are_scanned_once(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    original = Descent.__call__
    monkeypatch.setattr(Descent, "__call__", lambda self, *given: asked.append(self.steps) or original(self, *given))
    tasks = decompose(LinearRegression(6, 4).sample(30, seed=3).inputs, 4)
    fit_each([gradient_descent(2), gradient_descent(5)], tasks, gradient_descent(3).predictions(tasks, 1.0))
    asked.remove(3)  # the predictions
    assert 0 < max(asked.count(2), asked.count(5)) < GRID


@pytest.mark.parametrize("steps", [1, 2, 3, 6, 11, 64])
def test_geometric_sums_share_their_parts(steps: int) -> None:
    s2 = torch.rand(5, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64) * 4
    s2[0, 0] = 0.0
    sums, rate = GeometricSums(s2, 4, 1.3), 1.3 / 4
    for more in (64, 5, 3):  # whatever was asked for before
        sums.filter(more)
    slow = rate * sum((1 - rate * s2.numpy()) ** j for j in range(steps))
    np.testing.assert_allclose(sums.filter(steps).numpy(), slow, rtol=1e-11)
