"""Candidates against their definitions, in NumPy, SciPy and autograd."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mesascope.data import SoftmaxRegression
from mesascope.probes.softmax_regression import exact, formulas, solvers
from scipy.optimize import minimize
from torch import Tensor


@pytest.fixture
def tasks() -> tuple[Tensor, Tensor]:
    batch = SoftmaxRegression(n_tokens=9, d_in=4, input_scale=1.5).sample(6, seed=0)
    return batch.inputs, batch.targets


@pytest.fixture
def noisy() -> tuple[Tensor, Tensor]:
    """b that no x gives."""
    batch = SoftmaxRegression(n_tokens=9, d_in=4, weight_scale=1.0, noise=0.8).sample(6, seed=1)
    return batch.inputs, batch.targets


@pytest.mark.parametrize("steps", [1, 3])
def test_descent_follows_the_gradient_of_autograd(tasks: tuple[Tensor, Tensor], steps: int) -> None:
    A, b = tasks
    x = torch.zeros(len(A), 4, dtype=torch.float64)
    for _ in range(steps):
        x = x.detach().requires_grad_()
        loss = 0.5 * ((A @ x[..., None])[..., 0].softmax(dim=-1) - b).square().sum()
        x = x - 0.7 * torch.autograd.grad(loss, x)[0]
    torch.testing.assert_close(solvers.descent(A @ A.mT, b, steps, 0.7), formulas.scores_of(A, x).detach())


def test_the_first_step_in_closed_form(tasks: tuple[Tensor, Tensor]) -> None:
    A, b = tasks
    x = solvers.first_step(A, b, 2.0)
    for row, rows, targets in zip(x.numpy(), A.numpy(), b.numpy(), strict=True):
        np.testing.assert_allclose(row, 2.0 / 9 * np.sum((targets - targets.mean())[:, None] * rows, axis=0))
    torch.testing.assert_close(formulas.scores_of(A, x), solvers.descent(A @ A.mT, b, 1, 2.0))


def test_the_gauss_newton_step_solves_the_linearised_problem(tasks: tuple[Tensor, Tensor]) -> None:
    A, b = tasks
    for scores, rows, targets in zip(solvers.gauss_newton(A, b), A.numpy(), b.numpy(), strict=True):
        J = np.eye(9) / 9 - 1 / 81
        x = np.linalg.lstsq(J @ rows, targets - 1 / 9, rcond=None)[0]
        np.testing.assert_allclose(scores - scores.mean(), rows @ x - (rows @ x).mean(), atol=1e-10)


def test_smoothing_becomes_a_gradient_step_as_its_sharpness_goes_to_zero(tasks: tuple[Tensor, Tensor]) -> None:
    A, b = tasks
    gram = A @ A.mT
    step = solvers.descent(gram, b, 1, 3.0).softmax(dim=-1)
    for sign in (1, -1):
        gaps = [
            float((solvers.smoothing(gram, b, s, 3.0 / s).softmax(dim=-1) - step).abs().max())
            for s in (sign * 1e-2, sign * 1e-3)
        ]
        assert gaps[1] / gaps[0] == pytest.approx(0.1, rel=0.2)


def test_very_sharp_smoothing_copies_b(tasks: tuple[Tensor, Tensor]) -> None:
    """Rows of equal length: every token is most similar to itself."""
    A, b = tasks
    A = A / A.norm(dim=-1, keepdim=True)
    torch.testing.assert_close(solvers.smoothing(A @ A.mT, b, 1e3, 2.0), 2.0 * b, rtol=0, atol=1e-6)


# -- the exact solution ------------------------------------------------------------------------------------------------


def test_the_exact_solution_gives_b_where_some_x_does(tasks: tuple[Tensor, Tensor]) -> None:
    A, b = tasks
    x = exact.minimiser(A, b)
    torch.testing.assert_close(formulas.softmax_of(A, x), b, rtol=0, atol=1e-12)
    assert exact.settled(A, b, x).all()


def test_the_exact_solution_is_the_minimum_that_scipy_finds(noisy: tuple[Tensor, Tensor]) -> None:
    A, b = noisy
    x = exact.minimiser(A, b)
    assert exact.settled(A, b, x).all()
    losses = formulas.loss_of(formulas.softmax_of(A, x), b)
    for task, start in enumerate(x):

        def loss(at: np.ndarray, task: int = task) -> float:
            powers = np.exp(A[task].numpy() @ at)
            return float(0.5 * np.sum((powers / powers.sum() - b[task].numpy()) ** 2))

        found = minimize(loss, start.numpy() + 0.05, method="Nelder-Mead", options={"xatol": 1e-9, "fatol": 1e-15})
        assert float(losses[task]) <= found.fun + 1e-9
        assert float(losses[task]) == pytest.approx(found.fun, rel=1e-5)


def test_where_the_search_has_to_stop_it_says_so() -> None:
    """A certain outcome is the softmax of no x: the gradient never vanishes."""
    A = torch.tensor([[[1.0, 0.0], [0.0, 1.0], [0.3, 0.2]]], dtype=torch.float64)
    b = torch.tensor([[1.0, 0.0, 0.0]], dtype=torch.float64)
    x = torch.zeros(1, 2, dtype=torch.float64)
    assert not exact.settled(A, b, x).any()
    assert float(formulas.loss_of(formulas.softmax_of(A, exact.minimiser(A, b)), b)) < 1e-6


def test_the_curvature_is_the_hessian_of_autograd(noisy: tuple[Tensor, Tensor]) -> None:
    A, b = noisy
    x = torch.ones(len(A), 4, dtype=torch.float64)
    found = exact.curvature(A, formulas.softmax_of(A, x), b)
    for task in range(3):

        def loss(at: Tensor, task: int = task) -> Tensor:
            return 0.5 * ((A[task] @ at).softmax(dim=-1) - b[task]).square().sum()

        torch.testing.assert_close(found[task], torch.autograd.functional.hessian(loss, x[task]), atol=1e-12, rtol=0)


@pytest.mark.parametrize("of", ["tasks", "noisy"])
def test_the_sensitivity_of_the_exact_solution_is_that_of_solving_again(
    of: str, request: pytest.FixtureRequest
) -> None:
    A, b = request.getfixturevalue(of)
    found, step = exact.first_sensitivity(A, b, exact.minimiser(A, b)), 1e-4
    for token, entry in ((0, 0), (0, 2), (5, 3)):
        moved = []
        for way in (step, -step):
            other = A.clone()
            other[:, token, entry] += way
            moved.append(formulas.softmax_of(other, exact.minimiser(other, b))[:, 0])
        torch.testing.assert_close(found[:, token, entry], (moved[0] - moved[1]) / (2 * step), atol=2e-7, rtol=2e-3)
