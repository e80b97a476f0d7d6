"""Bayes' rule over a finite set of tasks: an explicit posterior, its two limits, and a planted variance."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from mesascope.probes.algorithms.contexts import Contexts
from mesascope.probes.algorithms.families import Fitted
from mesascope.probes.algorithms.filtered import RIDGE
from mesascope.probes.algorithms.fitting import given
from mesascope.probes.algorithms.task_sets import TaskSet


def problem(rng: np.random.Generator, n: int, d: int, d_out: int, members: int = 5, tasks: int = 40) -> tuple:
    """Contexts with noisy labels, each of a random member of the set, and the members."""
    W = rng.normal(size=(members, d_out, d))
    chosen = rng.integers(members, size=tasks)
    x = rng.normal(size=(tasks, n + 1, d))
    y = np.einsum("tnd,tod->tno", x, W[chosen]) + rng.normal(size=(tasks, n + 1, d_out))
    family = TaskSet("task_set", "Bayes", "Bayes", tasks=torch.from_numpy(W))
    return Contexts.of(torch.from_numpy(np.concatenate([x, y], axis=2)), d), family, chosen


def with_variance(value: float) -> Fitted:
    return Fitted(0, {"noise variance": given(value)})


def posterior_mean(X: np.ndarray, Y: np.ndarray, members: np.ndarray, variance: float) -> np.ndarray:
    """From the density of each label, N(W x, σ²), one after the other."""
    likelihoods = []
    for W in members:
        densities = [
            math.exp(-((value - mean) ** 2) / (2 * variance)) / math.sqrt(2 * math.pi * variance)
            for x, y in zip(X, Y, strict=True)
            for value, mean in zip(y, W @ x, strict=True)
        ]
        likelihoods.append(math.prod(densities))
    return sum(p * W for p, W in zip(likelihoods, members, strict=True)) / sum(likelihoods)


@pytest.mark.parametrize(("n", "d", "d_out"), [(3, 4, 1), (5, 3, 2)])
def test_it_is_the_mean_of_the_posterior(rng: np.random.Generator, n: int, d: int, d_out: int) -> None:
    tasks, family, _ = problem(rng, n, d, d_out)
    found, weights = (getattr(family, name)(tasks, with_variance(1.7)) for name in ("predict", "weights"))
    for i, (X, Y, query) in enumerate(zip(tasks.X.numpy(), tasks.Y.numpy(), tasks.query.numpy(), strict=True)):
        W = posterior_mean(X, Y, family.tasks.numpy(), 1.7)
        np.testing.assert_allclose(weights[i], W, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(found[i], W @ query, rtol=1e-10, atol=1e-12)


def test_without_noise_it_takes_the_likeliest_and_with_much_the_mean(rng: np.random.Generator) -> None:
    tasks, family, chosen = problem(rng, 60, 4, 1)
    for variance, expected in ((1e-3, family.tasks[chosen]), (1e12, family.tasks.mean(dim=0).expand(40, -1, -1))):
        torch.testing.assert_close(family.weights(tasks, with_variance(variance)), expected, rtol=1e-6, atol=1e-8)


def test_of_very_many_tasks_it_is_ridge_regression(rng: np.random.Generator) -> None:
    """With as many members as a sample of N(0, I): ridge with the noise variance as its penalty."""
    tasks, family, _ = problem(rng, 4, 2, 1, members=100_000, tasks=5)
    ridge = RIDGE.predict(tasks, Fitted(0, {"penalty": given(2.0)}))
    torch.testing.assert_close(family.predict(tasks, with_variance(2.0)), ridge, rtol=0, atol=0.02)
    assert float((family.predict(tasks, with_variance(4.0)) - ridge).abs().max()) > 0.06


@pytest.mark.parametrize("variance", [0.3, 4.0])
def test_a_planted_variance_is_found(rng: np.random.Generator, variance: float) -> None:
    tasks, family, _ = problem(rng, 3, 4, 2)
    found = family.fit(tasks, family.predict(tasks, with_variance(variance)))
    assert (found.value("noise variance"), found.at_end, found.n) == (pytest.approx(variance, rel=1e-8), False, 1)


def test_a_variance_that_runs_away_or_does_not_matter_is_at_an_end(rng: np.random.Generator) -> None:
    tasks, family, chosen = problem(rng, 60, 4, 1)
    mean, own = (
        torch.einsum("tod,td->to", W, tasks.query)
        for W in (family.tasks.mean(dim=0).expand(40, -1, -1), family.tasks[chosen])
    )
    assert family.fit(tasks, mean).value("noise variance") > 1e8
    assert family.fit(tasks, own).value("noise variance") < 1.0
    single = TaskSet("task_set", "Bayes", "Bayes", tasks=family.tasks[:1])
    assert all(fit.at_end for fit in (family.fit(tasks, mean), family.fit(tasks, own), single.fit(tasks, mean)))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_predictions_that_are_not_finite_have_no_variance(rng: np.random.Generator, value: float) -> None:
    tasks, family, _ = problem(rng, 3, 4, 1)
    aim = torch.ones(40, 1, dtype=torch.float64)
    aim[2] = value
    found = family.fit(tasks, aim)
    assert np.isnan(found.value("noise variance"))
    assert family.predict(tasks, found).isnan().all()
