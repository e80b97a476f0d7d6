"""Conjugate gradients: SciPy's steps, best in its Krylov space, least squares at the end and whatever comes after."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
import torch
from mesascope.data import LinearRegression
from mesascope.probes.algorithms.conjugate import CONJUGATE_GRADIENTS
from mesascope.probes.algorithms.contexts import Contexts
from mesascope.probes.algorithms.families import Fitted, by_autograd
from scipy.sparse.linalg import cg


def tasks_of(n: int, d: int, d_out: int = 1, tasks: int = 6) -> Contexts:
    return Contexts.of(LinearRegression(n, d, d_out).sample(tasks, seed=4).inputs, d)


SHAPES = pytest.mark.parametrize(("n", "d", "d_out"), [(9, 5, 1), (3, 6, 2), (5, 5, 2)])


@SHAPES
@pytest.mark.parametrize("steps", [1, 2, 3])
def test_steps_are_those_of_scipy(n: int, d: int, d_out: int, steps: int) -> None:
    """Each output for itself."""
    tasks, fitted = tasks_of(n, d, d_out), Fitted(steps)
    weights = CONJUGATE_GRADIENTS.weights(tasks, fitted)
    for i, (X, Y) in enumerate(zip(tasks.X.numpy(), tasks.Y.numpy(), strict=True)):
        expected = [cg(X.T @ X, X.T @ y, rtol=0, atol=0, maxiter=steps)[0] for y in Y.T]
        np.testing.assert_allclose(weights[i], expected, rtol=1e-9, atol=1e-10)
    torch.testing.assert_close(weights, by_autograd(lambda t: CONJUGATE_GRADIENTS.predict(t, fitted), tasks))


def test_a_step_fewer_or_more_is_another_answer() -> None:
    answers = [CONJUGATE_GRADIENTS.predict(tasks_of(9, 5), Fitted(steps)) for steps in range(6)]
    assert not answers[0].any()
    for one, other in pairwise(answers):
        assert float((one - other).square().mean()) > 1e-8


@pytest.mark.parametrize("steps", [1, 2, 4, 7])
def test_no_other_answer_of_its_krylov_space_is_closer_to_the_labels(steps: int) -> None:
    """The span of Sʲ XᵀY for j < k, with S = XᵀX; here for a context of condition 1e8 of S, where rounding counts."""
    tasks = tasks_of(12, 8)
    inputs = tasks.inputs.clone()
    inputs[..., :8] *= torch.logspace(0, -4, 8, dtype=torch.float64)
    tasks = Contexts(inputs, 8)
    weights = CONJUGATE_GRADIENTS.weights(tasks, Fitted(steps))
    for X, Y, W in zip(tasks.X.numpy(), tasks.Y.numpy(), weights.numpy(), strict=True):
        basis = X.T @ Y
        for _ in range(steps - 1):
            basis = np.linalg.qr(np.hstack([basis, X.T @ (X @ basis[:, -1:])]))[0]
        best = X @ basis @ np.linalg.lstsq(X @ basis, Y, rcond=1e-15)[0] - Y
        rest = X @ W.T - Y
        assert rest.T @ rest <= best.T @ best + 1e-13 * (Y.T @ Y)


@SHAPES
def test_it_ends_at_least_squares_and_stays_there(n: int, d: int, d_out: int) -> None:
    """Far beyond as many steps as a context has directions, too."""
    tasks = tasks_of(n, d, d_out, tasks=200)
    least = torch.linalg.pinv(tasks.X) @ tasks.Y
    for steps in (min(n, d), min(n, d) + 1, 100):
        weights = CONJUGATE_GRADIENTS.weights(tasks, Fitted(steps))
        torch.testing.assert_close(weights, least.mT, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize(("n", "d", "rank"), [(10, 5, 2), (6, 8, 1), (20, 20, 3)])
def test_contexts_that_are_solved_sooner_stay_solved(rng: np.random.Generator, n: int, d: int, rank: int) -> None:
    """Whose tokens are mixtures of few; among them one without labels and one without inputs."""
    mixed = torch.from_numpy(rng.normal(size=(50, n, rank)) @ rng.normal(size=(50, rank, n)))
    tasks = tasks_of(n, d, 2, tasks=50)
    inputs = tasks.inputs.clone()
    inputs[:, :-1] = mixed @ inputs[:, :-1]
    inputs[0, :, d:], inputs[1, :, :d] = 0.0, 0.0
    tasks = Contexts(inputs, d)
    least = (torch.linalg.pinv(tasks.X, rtol=1e-10) @ tasks.Y).mT
    for steps in (rank, rank + 1, d, 40):
        weights = CONJUGATE_GRADIENTS.weights(tasks, Fitted(steps))
        torch.testing.assert_close(weights, least, rtol=1e-8, atol=1e-8)
    if rank > 1:
        assert float((CONJUGATE_GRADIENTS.weights(tasks, Fitted(rank - 1)) - least).abs().max()) > 0.01


def test_nothing_is_fitted() -> None:
    tasks = tasks_of(9, 5)
    fitted = CONJUGATE_GRADIENTS.fit(tasks, torch.full((6, 1), np.nan, dtype=torch.float64), 3)
    assert (fitted.steps, dict(fitted.values), fitted.n) == (3, {}, 1)
