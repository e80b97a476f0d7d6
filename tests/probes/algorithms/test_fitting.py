"""One setting fitted on a logarithmic scale: where the least value is, with an interval, and what has none."""

from __future__ import annotations

import numpy as np
import pytest
from mesascope.data import LinearRegression
from mesascope.probes.algorithms.algorithm import Algorithm
from mesascope.probes.algorithms.fitting import fit_log_scale, given
from mesascope.probes.algorithms.named import RIDGE, ZERO, gradient_descent
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


def test_a_least_value_at_an_end_of_the_range_stays_there() -> None:
    for objective, end in ((lambda setting: setting, 1e-2), (lambda setting: -setting, 1e2)):
        fit = fit_log_scale(lambda setting, of=objective: np.array([of(setting)]), 1e-2, 1e2)
        assert (fit.value, fit.at_end) == (pytest.approx(end, rel=1e-6), True)
    inside = fit_log_scale(lambda setting: np.array([(np.log(setting) - np.log(90)) ** 2]), 1e-2, 1e2)
    assert (inside.value, inside.at_end) == (pytest.approx(90), False)


def test_what_is_finite_nowhere_has_no_setting() -> None:
    fit = fit_log_scale(lambda setting: np.array([np.nan, 1.0]), 1e-2, 1e2)
    assert np.isnan([fit.value, fit.low, fit.high]).all()
    assert fit.n == 2
    assert fit_log_scale(lambda s: np.array([np.inf if s > 1 else (s - 0.5) ** 2]), 0.1, 10).value == pytest.approx(0.5)


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


def test_an_algorithm_without_a_setting_fits_none() -> None:
    tasks = decompose(LinearRegression(6, 4).sample(5, seed=3).inputs, 4)
    with pytest.raises(ValueError, match="zero has no setting"):
        ZERO.fit(tasks, ZERO.predictions(tasks))
