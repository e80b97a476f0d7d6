"""Kernel regression by loops; with a linear kernel it is what it is called without; planted settings are found."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from mesascope.data import LinearRegression
from mesascope.probes.algorithms.contexts import Contexts
from mesascope.probes.algorithms.copying import MEAN_LABEL, NEAREST_LABEL
from mesascope.probes.algorithms.families import Fitted
from mesascope.probes.algorithms.filtered import GRADIENT_DESCENT
from mesascope.probes.algorithms.filtered import RIDGE as LINEAR_RIDGE
from mesascope.probes.algorithms.fitting import given
from mesascope.probes.algorithms.kernels import (
    EXPONENTIAL_DESCENT,
    EXPONENTIAL_RIDGE,
    PENALTY,
    RATE,
    RBF_DESCENT,
    RBF_RIDGE,
    SOFTMAX_DESCENT,
    OfKernel,
    at_every_penalty,
    at_every_rate,
    descent,
    ridge,
)

FAMILIES = (RBF_DESCENT, EXPONENTIAL_DESCENT, SOFTMAX_DESCENT, RBF_RIDGE, EXPONENTIAL_RIDGE)
each = pytest.mark.parametrize("family", FAMILIES, ids=[one.name for one in FAMILIES])
SHAPES = pytest.mark.parametrize(("n", "d", "d_out"), [(6, 4, 1), (3, 5, 2)])
WIDTH = 0.7
KERNELS: dict[str, Callable[[np.ndarray, np.ndarray], float]] = {
    "rbf": lambda a, b: math.exp(-((a - b) ** 2).sum() / (2 * WIDTH)),
    "exponential": lambda a, b: math.exp(a @ b / WIDTH),
}


def tasks_of(n: int, d: int, d_out: int = 1, tasks: int = 6, scale: float = 1.0) -> Contexts:
    return Contexts.of(LinearRegression(n, d, d_out, input_range=scale).sample(tasks, seed=2).inputs, d)


def member(family: OfKernel, other: float, width: float = WIDTH) -> Fitted:
    steps = 3 if family.tried else 0
    return Fitted(steps, {"width": given(width), family.other.name: given(other)})


def slow(family: OfKernel, X: np.ndarray, Y: np.ndarray, query: np.ndarray, other: float) -> np.ndarray:
    """Functional descent keeps the values of f at the context and at the query; ridge solves its equations."""
    kernel, _, rule = family.name.partition("_")

    def row(x: np.ndarray) -> np.ndarray:
        if kernel != "softmax":
            return np.array([KERNELS[kernel](x, xi) for xi in X])
        scores = np.array([KERNELS["exponential"](x, xi) for xi in X])
        return scores / scores.sum()

    K, k = np.array([row(x) for x in X]), row(query)
    if rule == "ridge":
        return k @ np.linalg.inv(K + other * np.eye(len(X))) @ Y
    f, answer = np.zeros_like(Y), np.zeros(Y.shape[1])
    for _ in range(3):
        left = (Y - f) * (other if kernel == "softmax" else other / len(X))
        answer, f = answer + k @ left, f + K @ left
    return answer


@each
@SHAPES
def test_a_family_is_its_slow_loop(family: OfKernel, n: int, d: int, d_out: int) -> None:
    """Its weights are central differences of that."""
    tasks, fitted, h = tasks_of(n, d, d_out), member(family, 0.8), 1e-5
    found, weights = family.predict(tasks, fitted), family.weights(tasks, fitted)
    for i, (X, Y, query) in enumerate(zip(tasks.X.numpy(), tasks.Y.numpy(), tasks.query.numpy(), strict=True)):
        np.testing.assert_allclose(found[i], slow(family, X, Y, query, 0.8), rtol=1e-10, atol=1e-12)
        ends = [[slow(family, X, Y, query + sign * h * unit, 0.8) for unit in np.eye(d)] for sign in (1, -1)]
        np.testing.assert_allclose(weights[i], (np.array(ends[0]) - ends[1]).T / (2 * h), rtol=1e-6, atol=1e-8)


@each
@SHAPES
def test_all_values_of_a_setting_at_once(family: OfKernel, n: int, d: int, d_out: int) -> None:
    """What fits use, beside what predictions are made of."""
    tasks, others = tasks_of(n, d, d_out), torch.tensor([1e-3, 0.2, 1.0, 7.0], dtype=torch.float64)
    for steps in (1, 2, 3, 4) if family.tried else (0,):
        answers = family.prepare(*family._kernels(tasks, WIDTH), tasks.Y, steps)
        every = answers(others / n if family.per_label else others)
        for other, found in zip(others, every, strict=True):
            fitted = Fitted(steps, {"width": given(WIDTH), family.other.name: given(float(other))})
            torch.testing.assert_close(found, family.predict(tasks, fitted), rtol=1e-9, atol=1e-12)


@SHAPES
def test_with_a_linear_kernel_they_are_descent_and_ridge(n: int, d: int, d_out: int) -> None:
    tasks = tasks_of(n, d, d_out)

    def linear(a: torch.Tensor, b: torch.Tensor, h: float) -> torch.Tensor:
        return a @ b.mT

    kernel_descent = OfKernel("", "", "", linear, descent, at_every_rate, RATE, per_label=True)
    kernel_ridge = OfKernel("", "", "", linear, ridge, at_every_penalty, PENALTY)
    width = {"width": given(1.0)}
    for family, plain, name, steps in (
        (kernel_descent, GRADIENT_DESCENT, "learning rate", 4),
        (kernel_ridge, LINEAR_RIDGE, "penalty", 0),
    ):
        fitted, same = Fitted(steps, {name: given(0.9)} | width), Fitted(steps, {name: given(0.9)})
        expected = plain.predict(tasks, same)
        torch.testing.assert_close(family.predict(tasks, fitted), expected, rtol=1e-9, atol=1e-12)
        torch.testing.assert_close(family.weights(tasks, fitted), plain.weights(tasks, same), rtol=1e-9, atol=1e-12)


def test_softmax_smoothing_lies_between_the_mean_and_the_nearest_label() -> None:
    """One step at rate 1; of inputs on a sphere, where the nearest has the largest score."""
    inputs = tasks_of(6, 4).inputs.clone()
    inputs[..., :4] /= inputs[..., :4].norm(dim=-1, keepdim=True)
    tasks = Contexts(inputs, 4)
    for width, floor in ((1e9, MEAN_LABEL), (1e-6, NEAREST_LABEL)):
        fitted = Fitted(1, {"width": given(width), "learning rate": given(1.0)})
        torch.testing.assert_close(
            SOFTMAX_DESCENT.predict(tasks, fitted), floor.predict(tasks, Fitted()), rtol=1e-6, atol=1e-8
        )


def test_many_steps_end_at_ridge_without_penalty() -> None:
    tasks = tasks_of(4, 5)
    for kernel_descent, kernel_ridge, rate in (
        (RBF_DESCENT, RBF_RIDGE, 2.0),
        (EXPONENTIAL_DESCENT, EXPONENTIAL_RIDGE, 0.5),
    ):
        long = Fitted(3_000, {"width": given(0.5), "learning rate": given(rate)})
        short = Fitted(0, {"width": given(0.5), "penalty": given(1e-12)})
        torch.testing.assert_close(
            kernel_descent.predict(tasks, long), kernel_ridge.predict(tasks, short), rtol=1e-6, atol=1e-8
        )


@each
@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_a_family_finds_its_own_settings_in_its_predictions(family: OfKernel, scale: float) -> None:
    """Widths go with the squares of the inputs, rates and penalties with nothing."""
    tasks = tasks_of(6, 4, 2, tasks=30, scale=scale)
    planted = member(family, 0.8, 0.4 * scale**2)
    found = family.fit(tasks, family.predict(tasks, planted), planted.steps)
    assert {name: fit.value for name, fit in found.values.items()} == pytest.approx(
        {name: fit.value for name, fit in planted.values.items()}, rel=1e-6
    )
    assert (found.steps, found.at_end, found.n) == (planted.steps, False, 3 if family.tried else 2)


def test_a_kernel_is_fitted_on_some_tasks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mesascope.probes.algorithms.kernels.FITTED_TASKS", 20)
    tasks = tasks_of(6, 4, tasks=30)
    aim = SOFTMAX_DESCENT.predict(tasks, member(SOFTMAX_DESCENT, 0.8))
    aim[20:] = torch.nan
    fit = SOFTMAX_DESCENT.fit(tasks, aim, 3).values["width"]
    assert (fit.value, fit.n) == (pytest.approx(WIDTH, rel=1e-6), 20)


def test_a_width_that_runs_away_is_at_an_end() -> None:
    """For the mean label; and nothing else is."""
    tasks = tasks_of(6, 4, tasks=40)
    aim = MEAN_LABEL.predict(tasks, Fitted())
    for family in (RBF_DESCENT, EXPONENTIAL_DESCENT, SOFTMAX_DESCENT):
        fits = family.fit(tasks, aim, 1).values
        assert {name for name, fit in fits.items() if fit.at_end} == {"width"}
        assert fits["learning rate"].value == pytest.approx(1.0, rel=1e-3)


@each
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_predictions_that_are_not_finite_have_no_settings(family: OfKernel, value: float) -> None:
    tasks = tasks_of(6, 4)
    aim = torch.ones(6, 1, dtype=torch.float64)
    aim[2] = value
    found = family.fit(tasks, aim, 1)
    assert np.isnan([fit.value for fit in found.values.values()]).all()
    assert family.predict(tasks, found).isnan().all()


def test_equations_without_a_solution_have_none() -> None:
    K = torch.stack([torch.ones(2, 2), torch.eye(2)]).double()
    found = ridge(K, torch.ones(2, 2, 1, dtype=torch.float64), 0.0, 0)
    assert not found[0].isfinite().any()
    assert torch.equal(found[1], torch.ones(2, 1, dtype=torch.float64))


def test_inputs_that_are_all_the_same_do_not_stop_a_fit() -> None:
    """Their kernel matrix is singular, and without length they have no unit."""
    tasks = tasks_of(6, 4)
    for value in (0.0, 1.0):
        inputs = tasks.inputs.clone()
        inputs[..., :4] = value
        for family in (RBF_RIDGE, SOFTMAX_DESCENT):
            fits = family.fit(Contexts(inputs, 4), torch.ones(6, 1, dtype=torch.float64), 1).values
            assert np.isfinite([fit.value for fit in fits.values()]).all()
