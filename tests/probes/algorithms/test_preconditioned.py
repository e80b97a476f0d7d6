"""One preconditioned step: the best P is found, whatever the inputs' variances, and it is a preconditioner."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mesascope.probes.algorithms.contexts import Contexts
from mesascope.probes.algorithms.families import Fitted
from mesascope.probes.algorithms.filtered import GRADIENT_DESCENT
from mesascope.probes.algorithms.fitting import given
from mesascope.probes.algorithms.preconditioned import ONE_STEP
from scipy.optimize import minimize
from torch import Tensor


def tasks_of(n: int, d: int, d_out: int, rng: np.random.Generator, smallest: float = 1.0, tasks: int = 80) -> Contexts:
    """Inputs with standard deviations from 1 down to the smallest, in turned directions."""
    turned = np.linalg.qr(rng.normal(size=(d, d)))[0] * np.geomspace(1, smallest, d)[:, None]
    x = rng.normal(size=(tasks, n + 1, d)) @ turned
    y = x @ rng.normal(size=(tasks, d, d_out))
    return Contexts.of(torch.from_numpy(np.concatenate([x, y], axis=2)), d)


def rest(tasks: Contexts, aim: Tensor, matrix: Tensor) -> float:
    """Of the predictions' mean square."""
    return float((ONE_STEP.predict(tasks, Fitted(matrix=matrix)) - aim).square().mean() / aim.square().mean())


@pytest.mark.parametrize(("n", "d", "d_out"), [(6, 4, 1), (3, 5, 2)])
def test_it_is_its_slow_loop(rng: np.random.Generator, n: int, d: int, d_out: int) -> None:
    tasks, P = tasks_of(n, d, d_out, rng), rng.normal(size=(d, d))
    fitted = Fitted(matrix=torch.from_numpy(P))
    found, weights = ONE_STEP.predict(tasks, fitted), ONE_STEP.weights(tasks, fitted)
    for i, (X, Y, query) in enumerate(zip(tasks.X.numpy(), tasks.Y.numpy(), tasks.query.numpy(), strict=True)):
        W = sum(np.outer(y, P @ x) for x, y in zip(X, Y, strict=True)) / n
        np.testing.assert_allclose(weights[i], W, rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(found[i], W @ query, rtol=1e-10, atol=1e-12)
    plain = Fitted(matrix=0.3 * torch.eye(d, dtype=torch.float64))
    descent = GRADIENT_DESCENT.predict(tasks, Fitted(1, {"learning rate": given(0.3)}))
    torch.testing.assert_close(ONE_STEP.predict(tasks, plain), descent, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("smallest", [1.0, 0.1, 0.02])
@pytest.mark.parametrize(("n", "d", "d_out", "rank"), [(10, 5, 1, 5), (10, 5, 1, 2), (4, 6, 2, 6), (4, 6, 2, 1)])
def test_a_planted_preconditioner_is_found(
    monkeypatch: pytest.MonkeyPatch,
    rng: np.random.Generator,
    smallest: float,
    n: int,
    d: int,
    d_out: int,
    rank: int,
) -> None:
    """In few iterations, also for inputs of unequal variances."""
    monkeypatch.setattr("mesascope.probes.algorithms.preconditioned.ITERATIONS", 200)
    tasks, half = tasks_of(n, d, d_out, rng, smallest), torch.from_numpy(rng.normal(size=(d, rank)))
    aim = ONE_STEP.predict(tasks, Fitted(matrix=half @ half.T))
    matrix = ONE_STEP.fit(tasks, aim).matrix
    torch.testing.assert_close(matrix, half @ half.T, rtol=0, atol=1e-7)
    assert rest(tasks, aim, matrix) < 1e-18


@pytest.mark.parametrize("smallest", [1.0, 0.1])
def test_what_is_no_preconditioner_is_not_found(rng: np.random.Generator, smallest: float) -> None:
    """A random matrix, and the negative of a preconditioner."""
    tasks, A = tasks_of(10, 5, 1, rng, smallest), torch.from_numpy(rng.normal(size=(5, 5)))
    for planted, least in ((A, 0.05), (A - A.T, 0.3), (-A @ A.T, 0.9)):
        aim = ONE_STEP.predict(tasks, Fitted(matrix=planted))
        matrix = ONE_STEP.fit(tasks, aim).matrix
        torch.testing.assert_close(matrix, matrix.T)
        assert float(torch.linalg.eigvalsh(matrix)[0]) > -1e-10
        assert rest(tasks, aim, matrix) > least


@pytest.mark.parametrize("smallest", [1.0, 0.1, 0.02])
def test_no_preconditioner_is_closer(rng: np.random.Generator, smallest: float) -> None:
    """The conditions of Karush, Kuhn and Tucker: the slope G at P has no negative eigenvalue, and G·P = 0."""
    tasks, A = tasks_of(8, 4, 2, rng, smallest), torch.from_numpy(rng.normal(size=(4, 4)))
    aim = ONE_STEP.predict(tasks, Fitted(matrix=A)) + torch.from_numpy(rng.normal(size=(80, 2)))
    matrix = ONE_STEP.fit(tasks, aim).matrix.requires_grad_()
    (slope,) = torch.autograd.grad((ONE_STEP.predict(tasks, Fitted(matrix=matrix)) - aim).square().mean(), matrix)
    values, vectors = torch.linalg.eigh(matrix.detach())
    assert values[0] < 1e-8 < values[-1]  # the condition on P matters here
    basis = vectors * values.clamp_min(1e-4).sqrt()  # so that G is seen in units of P
    assert torch.linalg.eigvalsh(basis.T @ (slope + slope.T) @ basis)[0] > -1e-7
    assert abs(float((slope * matrix.detach()).sum())) < 1e-7


def test_a_general_method_finds_no_better(rng: np.random.Generator) -> None:
    """SciPy's, over all L of P = L Lᵀ."""
    tasks, A = tasks_of(8, 3, 1, rng), torch.from_numpy(rng.normal(size=(3, 3)))
    aim = ONE_STEP.predict(tasks, Fitted(matrix=A))

    def objective(flat: np.ndarray) -> float:
        L = torch.from_numpy(flat).reshape(3, 3)
        return rest(tasks, aim, L @ L.T)

    best = min(minimize(objective, rng.normal(size=9), method="BFGS").fun for _ in range(3))
    assert rest(tasks, aim, ONE_STEP.fit(tasks, aim).matrix) == pytest.approx(best, rel=1e-5)


def test_directions_that_no_input_has_get_nothing(rng: np.random.Generator) -> None:
    tasks = tasks_of(8, 4, 1, rng)
    flat = tasks.inputs.clone()
    flat[..., 2] = 0.0
    tasks = Contexts(flat, 4)
    aim = ONE_STEP.predict(tasks, Fitted(matrix=torch.eye(4, dtype=torch.float64)))
    seen = torch.tensor([1.0, 1.0, 0.0, 1.0], dtype=torch.float64)
    torch.testing.assert_close(ONE_STEP.fit(tasks, aim).matrix, torch.diag(seen), rtol=0, atol=1e-8)
    unlabelled = flat.clone()
    unlabelled[..., 4] = 0.0
    assert not ONE_STEP.fit(Contexts(unlabelled, 4), aim).matrix.any()


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_predictions_that_are_not_finite_have_no_preconditioner(rng: np.random.Generator, value: float) -> None:
    tasks = tasks_of(8, 4, 1, rng)
    aim = torch.ones(80, 1, dtype=torch.float64)
    aim[3] = value
    fitted = ONE_STEP.fit(tasks, aim)
    assert fitted.matrix.shape == (4, 4)
    assert fitted.matrix.isnan().all()
    assert ONE_STEP.predict(tasks, fitted).isnan().all()
