"""Several preconditioned steps: they are their slow loop, and the preconditioner behind predictions is found again."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mesascope.probes.algorithms.contexts import Contexts
from mesascope.probes.algorithms.families import Fitted
from mesascope.probes.algorithms.filtered import GRADIENT_DESCENT, LEAST_SQUARES
from mesascope.probes.algorithms.fitting import given
from mesascope.probes.algorithms.preconditioned import ONE_STEP
from mesascope.probes.algorithms.preconditioned_steps import SEVERAL_STEPS
from scipy.optimize import minimize
from torch import Tensor


def tasks_of(
    n: int, d: int, d_out: int, rng: np.random.Generator, smallest: float = 1.0, scale: float = 1.0
) -> Contexts:
    """Inputs with standard deviations from `scale` down by the factor `smallest`, in turned directions."""
    turned = scale * np.linalg.qr(rng.normal(size=(d, d)))[0] * np.geomspace(1, smallest, d)[:, None]
    x = rng.normal(size=(120, n + 1, d)) @ turned
    y = x @ rng.normal(size=(120, d, d_out))
    return Contexts.of(torch.from_numpy(np.concatenate([x, y], axis=2)), d)


def tamed(P: np.ndarray, tasks: Contexts, share: float = 0.9) -> Tensor:
    """P at a share of the size at which the largest step of any task would only just not overshoot."""
    S = (tasks.X.mT @ tasks.X / tasks.n_context).numpy()
    return torch.from_numpy(share * P / max(np.linalg.eigvals(P @ one).real.max() for one in S))


def left(tasks: Contexts, aim: Tensor, fitted: Fitted) -> float:
    """Of the predictions' mean square."""
    return float((SEVERAL_STEPS.predict(tasks, fitted) - aim).square().mean() / aim.square().mean())


def spread(d: int, rng: np.random.Generator) -> np.ndarray:
    """A preconditioner that is no multiple of the identity."""
    basis = np.linalg.qr(rng.normal(size=(d, d)))[0]
    return (basis * np.linspace(0.3, 1, d)) @ basis.T


@pytest.mark.parametrize(("n", "d", "d_out"), [(6, 4, 1), (3, 5, 2)])
def test_it_is_its_slow_loop(rng: np.random.Generator, n: int, d: int, d_out: int) -> None:
    tasks = tasks_of(n, d, d_out, rng)
    P = tamed(spread(d, rng), tasks)
    fitted = Fitted(3, matrix=P)
    found, slopes = SEVERAL_STEPS.predict(tasks, fitted), SEVERAL_STEPS.weights(tasks, fitted)
    for i, (X, Y, query) in enumerate(zip(tasks.X.numpy(), tasks.Y.numpy(), tasks.query.numpy(), strict=True)):
        W = np.zeros((d_out, d))
        for _ in range(3):
            W = W + sum(np.outer(y - W @ x, x) for x, y in zip(X, Y, strict=True)) / n @ P.numpy()
        np.testing.assert_allclose(slopes[i], W, rtol=1e-9, atol=1e-12)
        np.testing.assert_allclose(found[i], W @ query, rtol=1e-9, atol=1e-12)


def test_one_step_and_a_multiple_of_the_identity_are_what_they_are_elsewhere(rng: np.random.Generator) -> None:
    tasks = tasks_of(8, 4, 1, rng)
    P = tamed(spread(4, rng), tasks)
    one = SEVERAL_STEPS.predict(tasks, Fitted(1, matrix=P))
    torch.testing.assert_close(one, ONE_STEP.predict(tasks, Fitted(matrix=P)), rtol=1e-12, atol=1e-12)
    plain = SEVERAL_STEPS.predict(tasks, Fitted(4, matrix=0.1 * torch.eye(4, dtype=torch.float64)))
    descent = GRADIENT_DESCENT.predict(tasks, Fitted(4, {"learning rate": given(0.1)}))
    torch.testing.assert_close(plain, descent, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("scale", [0.01, 1.0, 30.0])
@pytest.mark.parametrize(("n", "d", "d_out", "steps", "smallest"), [
    (10, 5, 1, 2, 1.0), (10, 5, 1, 6, 1.0), (20, 5, 1, 3, 0.2), (4, 6, 2, 3, 1.0),
])  # fmt: skip
def test_a_planted_preconditioner_is_found(
    rng: np.random.Generator, n: int, d: int, d_out: int, steps: int, smallest: float, scale: float
) -> None:
    tasks = tasks_of(n, d, d_out, rng, smallest, scale)
    P = tamed(spread(d, rng), tasks)
    aim = SEVERAL_STEPS.predict(tasks, Fitted(steps, matrix=P))
    fitted = SEVERAL_STEPS.fit(tasks, aim, steps)
    assert fitted.steps == steps
    assert left(tasks, aim, fitted) < 1e-5
    torch.testing.assert_close(fitted.matrix, P, rtol=0, atol=0.02 * float(P.norm()))
    assert left(tasks, aim, SEVERAL_STEPS.fit(tasks, aim, 1 if steps == 2 else 2)) > 3e-4  # the steps matter


def test_what_is_no_descent_is_not_found(rng: np.random.Generator) -> None:
    """Steps up the loss (some of which steps that overshoot explain), a matrix that is not symmetric, least squares."""
    tasks, A = tasks_of(10, 5, 1, rng), rng.normal(size=(5, 5))
    for aim, least in (
        (ONE_STEP.predict(tasks, Fitted(matrix=torch.from_numpy(-A @ A.T))), 0.2),
        (ONE_STEP.predict(tasks, Fitted(matrix=torch.from_numpy(A - A.T))), 0.3),
        (LEAST_SQUARES.predict(tasks, Fitted()), 0.01),
    ):
        fitted = SEVERAL_STEPS.fit(tasks, aim, 2)
        assert left(tasks, aim, fitted) > least
        assert float(torch.linalg.eigvalsh(fitted.matrix)[0]) > -1e-10


def test_a_general_method_finds_no_better(rng: np.random.Generator) -> None:
    """SciPy's, from several random L of P = L Lᵀ."""
    tasks = tasks_of(8, 3, 1, rng)
    aim = SEVERAL_STEPS.predict(tasks, Fitted(3, matrix=tamed(spread(3, rng), tasks)))
    aim = aim + 0.3 * aim.std() * torch.from_numpy(rng.normal(size=aim.shape))

    def objective(flat: np.ndarray) -> float:
        L = torch.from_numpy(flat).reshape(3, 3)
        return left(tasks, aim, Fitted(2, matrix=L @ L.T))

    best = min(minimize(objective, 0.1 * rng.normal(size=9), method="BFGS").fun for _ in range(5))
    assert left(tasks, aim, SEVERAL_STEPS.fit(tasks, aim, 2)) <= best * (1 + 1e-3)


def test_predictions_that_are_not_finite_or_all_zero(rng: np.random.Generator) -> None:
    tasks = tasks_of(8, 4, 1, rng)
    aim = torch.zeros(120, 1, dtype=torch.float64)
    assert not SEVERAL_STEPS.predict(tasks, SEVERAL_STEPS.fit(tasks, aim, 2)).abs().max() > 1e-3
    aim[3] = torch.inf
    fitted = SEVERAL_STEPS.fit(tasks, aim, 2)
    assert fitted.matrix.shape == (4, 4)
    assert SEVERAL_STEPS.predict(tasks, fitted).isnan().all()
