"""Settings of the candidates: the least loss by a plain scan, and a planted smoother that is found again."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mesascope.data import SoftmaxRegression
from mesascope.data.batch import Batch
from mesascope.probes.algorithms.fitting import Fit, mean_fit
from mesascope.probes.softmax_regression.fits import fit_settings, fit_smoother
from mesascope.probes.softmax_regression.setting_measures import setting_measures
from mesascope.probes.softmax_regression.setup import Fitted
from mesascope.probes.softmax_regression.solvers import smoothing


@pytest.fixture(scope="module")
def tuning() -> Batch:
    return SoftmaxRegression(n_tokens=8, d_in=4).sample(80, seed=0)


def loss(scores: np.ndarray, b: np.ndarray) -> float:
    powers = np.exp(scores - scores.max(axis=1, keepdims=True))
    return float(0.5 * np.sum((powers / powers.sum(axis=1, keepdims=True) - b) ** 2, axis=1).mean())


def test_the_rate_of_one_step_has_the_least_loss_of_a_plain_scan(tuning: Batch) -> None:
    A, b = tuning.inputs.numpy(), tuning.targets.numpy()
    direction = np.einsum("tid,tjd,tj->ti", A, A, b - b.mean(axis=1, keepdims=True)) / 8
    scan = np.geomspace(1, 200, 4_000)
    best = scan[np.argmin([loss(rate * direction, b) for rate in scan])]
    fit = fit_settings(tuning, None).rates["gd"]
    assert fit.value == pytest.approx(best, rel=2e-3)
    assert fit.low < fit.value < fit.high
    assert fit.n == 80


def test_the_factor_of_a_copy_has_the_least_loss_of_a_plain_scan(tuning: Batch) -> None:
    b = tuning.targets.numpy()
    scan = np.geomspace(1, 100, 4_000)
    best = scan[np.argmin([loss(factor * b, b) for factor in scan])]
    assert fit_settings(tuning, None).copy.value == pytest.approx(best, rel=2e-3)


def test_a_rate_that_is_given_is_not_fitted(tuning: Batch) -> None:
    rates = fit_settings(tuning, 3.5).rates
    assert (rates["gd"].value, rates["gd"].given) == (3.5, True)
    assert not rates["gd_2"].given


@pytest.mark.parametrize(("sharpness", "factor"), [(1.4, 9.0), (-0.3, -120.0)])
def test_a_planted_smoother_is_found_with_its_sign(tuning: Batch, sharpness: float, factor: float) -> None:
    gram = tuning.inputs @ tuning.inputs.mT
    planted = smoothing(gram, tuning.targets, sharpness, factor).softmax(dim=-1)
    found = fit_smoother(tuning, planted)
    assert found.sharpness.value == pytest.approx(sharpness, rel=1e-3)
    assert found.factor.value == pytest.approx(factor, rel=1e-3)
    for fit in (found.sharpness, found.factor):
        assert fit.low <= fit.value <= fit.high


def test_settings_as_measures(tuning: Batch) -> None:
    gram = tuning.inputs @ tuning.inputs.mT
    smoother = fit_smoother(tuning, smoothing(gram, tuning.targets, 1.0, 5.0).softmax(dim=-1))
    one = Fitted(fit_settings(tuning, 3.5), smoother)
    measures = setting_measures([one])
    rate = measures["learning_rate"].sel(candidate="gd")
    assert (rate.estimate, rate.message, rate.replicate) == (3.5, "given, not fitted", "none")
    assert measures["learning_rate"].sel(candidate="gauss_newton").unit == "share of the step"
    assert measures["smoother_sharpness"].estimate == pytest.approx(1.0, rel=1e-3)
    assert measures["copy_factor"].n == 80


def test_a_smoother_of_a_constant_says_that_it_lies_at_an_end(tuning: Batch) -> None:
    """A model that always says 1/n: whatever the sharpness is, the factor is 0."""
    fitted = Fitted(fit_settings(tuning, None), fit_smoother(tuning, torch.full_like(tuning.targets, 1 / 8)))
    measures = setting_measures([fitted])
    assert abs(measures["smoother_factor"].estimate) < 0.2
    assert measures["smoother_sharpness"].message == "at an end of the range that was searched"


def test_the_mean_of_two_folds() -> None:
    fit = mean_fit([Fit(1.0, 0.8, 1.2, 10), Fit(3.0, 2.8, 3.2, 12, at_end=True)])
    assert (fit.value, fit.n, fit.at_end) == (2.0, 22, True)
    assert fit.high - fit.value == pytest.approx(np.hypot(0.2, 0.2) / 2)
