"""Frozen rules on tasks of other lengths and laws, beside NumPy; and the laws of shifts, beside closed forms."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch
from mesascope.data import LinearRegression
from mesascope.probes.algorithms.families import Fitted
from mesascope.probes.algorithms.filtered import GDPP, GRADIENT_DESCENT, LEAST_SQUARES, RIDGE
from mesascope.probes.algorithms.fitting import given
from mesascope.probes.algorithms.preconditioned import ONE_STEP
from mesascope.probes.shift_battery.rules import Frozen, freeze
from mesascope.probes.shift_battery.tasks import Change, FromLaw, Tasks

D, N = 4, 6
LAW = LinearRegression(n_context=N, d_in=D, input_range=2.0, weight_scale=1.5, noise=0.2)
DRAWN = FromLaw.draw(LAW, 30, 0)
SHORT, LONG = Change(n_context=3.0), Change(n_context=24.0)
P = torch.diag(torch.tensor([0.2, 0.5, 1.0, 2.0], dtype=torch.float64))


def frozen(
    family: object, sums: bool = True, matrix: torch.Tensor | None = None, steps: int = 0, **values: float
) -> Frozen:
    held = {name.replace("_", " "): given(value) for name, value in values.items()}
    return Frozen(family, (Fitted(steps, held, matrix),), sums)  # pyright: ignore[reportArgumentType]


def numpy_of(tasks: Tasks) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    held = (tasks.contexts.X, tasks.contexts.Y[..., 0], tasks.contexts.query)
    return list(zip(*(part.numpy() for part in held), strict=True))


def descend(X: np.ndarray, y: np.ndarray, q: np.ndarray, rate: float, steps: int) -> float:
    w = np.zeros(D)
    for _ in range(steps):
        w = w + rate * X.T @ (y - X @ w)
    return float(w @ q)


def gdpp(X: np.ndarray, y: np.ndarray, q: np.ndarray, rate: float, gamma: float, steps: int) -> float:
    found = 0.0
    for _ in range(steps):
        step = rate * X.T @ y
        found, y = found + step @ q, y - X @ step
        S = X.T @ X
        X, q = X - gamma * X @ S, q - gamma * S @ q
    return float(found)


@pytest.mark.parametrize("change", [Change(), SHORT, LONG, Change(input_scale=2.0), Change(label_noise=2.0)], ids=str)
def test_a_step_sums_over_pairs_at_the_rate_of_training(change: Change) -> None:
    tasks = DRAWN.tasks(change)
    M = tasks.contexts.n_context
    shown = numpy_of(tasks)
    expected = {
        "sum": (frozen(GRADIENT_DESCENT, steps=3, learning_rate=0.6), [descend(*one, 0.1, 3) for one in shown]),
        "mean": (
            frozen(GRADIENT_DESCENT, sums=False, steps=3, learning_rate=0.6),
            [descend(*one, 0.6 / M, 3) for one in shown],
        ),
        "GD++": (
            frozen(GDPP, steps=2, learning_rate=0.6, gamma=0.02),
            [gdpp(*one, 0.1, 0.02, 2) for one in shown],
        ),
        "step": (frozen(ONE_STEP, matrix=P), [q @ P.numpy() @ X.T @ y / N for X, y, q in shown]),
        "ridge": (
            frozen(RIDGE, penalty=0.7),
            [q @ np.linalg.solve(X.T @ X + 0.7 * np.eye(D), X.T @ y) for X, y, q in shown],
        ),
        "least squares": (frozen(LEAST_SQUARES), [q @ np.linalg.pinv(X) @ y for X, y, q in shown]),
    }
    for name, (rule, answers) in expected.items():
        np.testing.assert_allclose(
            rule.answers(tasks.contexts, N)[:, 0].numpy(), answers, rtol=1e-9, atol=1e-10, err_msg=name
        )


def test_bayes_rule_is_the_posterior_mean_under_the_law_of_training() -> None:
    """With the covariance of labels; whatever the noise of the tasks at hand is."""
    contexts = DRAWN.tasks().contexts
    rules = freeze([(contexts, torch.zeros(30, 1, dtype=torch.float64))], LAW)
    assert not rules["bayes"].fitted
    for change in (Change(), Change(label_noise=2.0), Change(teacher_mean=4.0), LONG):
        tasks = DRAWN.tasks(change)
        expected = [
            1.5**2 * q @ X.T @ np.linalg.solve(1.5**2 * X @ X.T + 0.2**2 * np.eye(len(X)), y)
            for X, y, q in numpy_of(tasks)
        ]
        np.testing.assert_allclose(
            rules["bayes"].answers(tasks.contexts, N)[:, 0].numpy(), expected, rtol=1e-9, atol=1e-10
        )


@pytest.mark.parametrize(
    "law", [replace(LAW, noise=0.0), replace(LAW, weight_scale=0.0), None], ids=["exact", "no teacher", "file"]
)
def test_without_noise_or_a_law_there_is_no_prior(law: LinearRegression | None) -> None:
    contexts = DRAWN.tasks().contexts
    assert "bayes" not in freeze([(contexts, contexts.query[:, :1])], law)


def test_rules_are_fitted_to_the_model_and_not_to_labels() -> None:
    contexts = DRAWN.tasks().contexts
    model = frozen(GRADIENT_DESCENT, steps=10, learning_rate=0.9)
    rules = freeze([(contexts, model.answers(contexts, N))], LAW)
    assert rules["gd"].fits[0].steps == 10
    assert rules["gd"].fits[0].value("learning rate") == pytest.approx(0.9, rel=1e-6)
    assert rules["gd_mean"].fits is rules["gd"].fits
    other = frozen(GRADIENT_DESCENT, steps=10, learning_rate=0.4)
    again = rules["gd"].fitted_to((contexts, other.answers(contexts, N)))
    assert again.fits[0].value("learning rate") == pytest.approx(0.4, rel=1e-6)
    assert rules["bayes"].fitted_to((contexts, contexts.query[:, :1])) is rules["bayes"]


# -- laws --------------------------------------------------------------------------------------------------------------

MANY = 20_000
ONE = frozen(GRADIENT_DESCENT, steps=1, learning_rate=1.2)
a = 1.2 / N
"""What a pair counts with."""


def moments(change: Change, sd: float) -> tuple[float, float, float]:
    """E ŷ y, E ŷ², E y² of one step for inputs whose coordinates are uniform and independent: with Λ their covariance,

    E ŷ y = a M τ² tr Λ²,   E ŷ² = a² (τ² (M E[xᵀΛx xᵀx] + M (M - 1) tr Λ³) + σ² M tr Λ²),   E y² = τ² tr Λ
    """
    even = change.condition_number ** -np.linspace(0, 1, D)
    lam = change.input_scale**2 * even / even.mean() * 2.0**2 / 12
    M, tau2 = int(change.n_context or N), 1.5**2
    fourth = (lam * (1.8 * lam**2 + lam * (lam.sum() - lam))).sum()  # a uniform law's fourth moment is 1.8 variances²
    square = tau2 * (M * fourth + M * (M - 1) * (lam**3).sum()) + sd**2 * M * (lam**2).sum()
    return a * M * tau2 * (lam**2).sum(), a**2 * square, tau2 * lam.sum()


@pytest.mark.parametrize("change", [
    Change(), Change(input_scale=0.5), Change(input_scale=2.0), SHORT, LONG, Change(label_noise=1.0),
    Change(condition_number=16.0), Change(input_scale=2.0, n_context=12.0, label_noise=2.0, condition_number=4.0),
], ids=str)  # fmt: skip
def test_one_step_has_the_moments_of_its_closed_form(change: Change) -> None:
    """20,000 tasks, four standard errors."""
    drawn = FromLaw.draw(LAW, MANY, 1)
    tasks = drawn.tasks(change)
    answers, y = ONE.answers(tasks.contexts, N), tasks.targets
    sd = 0.2 if change.label_noise is None else change.label_noise * drawn.label_sd
    for samples, expected in zip((answers * y, answers**2, y**2), moments(change, sd), strict=True):
        assert abs(float(samples.mean()) - expected) < 4 * float(samples.std()) / MANY**0.5


def test_the_response_of_one_step_goes_with_the_square_of_the_scale_and_that_of_least_squares_does_not() -> None:
    """Task by task: ŷ / y is c² times that of training, or the same."""
    drawn = FromLaw.draw(replace(LAW, noise=0.0), 50, 0)
    for c in (0.25, 4.0):
        changed, plain = drawn.tasks(Change(input_scale=c)), drawn.tasks()
        for rule, power in ((ONE, 2), (frozen(ONE_STEP, matrix=P), 2), (frozen(LEAST_SQUARES), 0)):
            ratio = rule.answers(changed.contexts, N) / changed.targets
            torch.testing.assert_close(
                ratio, c**power * rule.answers(plain.contexts, N) / plain.targets, rtol=1e-10, atol=1e-10
            )


def test_the_best_step_on_random_covariances_is_a_third() -> None:
    """Eigenvalues from Exp(1), inputs of variance 1: η* = E tr Λ² / (E[xᵀΛx xᵀx] / M + (1 - 1/M) E tr Λ³) -> 2/6.

    40,000 tasks, four standard errors: the best η makes (y - η ŷ) ŷ zero on average.
    """
    law = LinearRegression(n_context=8, d_in=D, input_range=12**0.5)
    tasks = FromLaw.draw(law, 40_000, 0).tasks(Change(eigenvalue_spread=1.0, n_context=32.0))

    def best(M: float) -> float:
        return 2 * D / ((1.8 * 6 * D + 2 * D * (D - 1)) / M + (1 - 1 / M) * 6 * D)

    unit = frozen(GRADIENT_DESCENT, sums=False, steps=1, learning_rate=1.0).answers(tasks.contexts, 8)
    left = (tasks.targets - best(32) * unit) * unit
    assert abs(float(left.mean())) < 4 * float(left.std()) / len(left) ** 0.5
    assert best(1e9) == pytest.approx(1 / 3)


def test_on_long_contexts_a_third_of_a_step_is_the_covariance_of_the_task() -> None:
    """ŷ -> x_qᵀ Λ w / 3, with a squared distance that falls as 1/M: 8,000 tasks."""
    law = LinearRegression(n_context=16, d_in=D, input_range=12**0.5)
    drawn = FromLaw.draw(law, 8_000, 0)
    third = frozen(GRADIENT_DESCENT, sums=False, steps=1, learning_rate=1 / 3)
    gaps = []
    for M in (4.0, 16.0, 64.0):
        tasks = drawn.tasks(Change(eigenvalue_spread=1.0, n_context=M))
        limit = torch.einsum("ti,ti,tik->tk", tasks.contexts.query, drawn.exponential, drawn.w) / 3
        gaps.append(float((third.answers(tasks.contexts, 16) - limit).square().mean()))
    assert gaps[0] / gaps[1] == pytest.approx(4, rel=0.2)
    assert gaps[1] / gaps[2] == pytest.approx(4, rel=0.2)


def test_a_mean_teacher_leaves_the_response_of_one_step_as_it_is() -> None:
    """E ŷ y / E y² = a M s, of whatever teachers: 20,000 tasks, four standard errors."""
    tasks = FromLaw.draw(replace(LAW, noise=0.0), MANY, 2).tasks(Change(teacher_mean=4.0))
    left = (ONE.answers(tasks.contexts, N) - a * N * 4 / 12 * tasks.targets) * tasks.targets
    assert abs(float(left.mean())) < 4 * float(left.std()) / MANY**0.5
