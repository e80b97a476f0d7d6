"""Named algorithms do what they are called: by closed forms, slow loops, NumPy and a constructed transformer."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mesascope.data import LinearRegression
from mesascope.models import gd_transformer
from mesascope.probes.algorithms.named import MEAN_LABEL, MINIMUM_NORM, RIDGE, ZERO, algorithms, gradient_descent
from mesascope.probes.algorithms.spectrum import decompose
from torch import Tensor

D_IN = 4


@pytest.fixture(scope="module")
def inputs() -> Tensor:
    """Six tasks with five labelled pairs, inputs [4] and labels [2], and a query whose label slot is not empty."""
    tasks = LinearRegression(5, D_IN, 2).sample(6, seed=1).inputs.clone()
    tasks[:, -1, D_IN:] = 7.0
    return tasks


def parts(task: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return task[:-1, :D_IN], task[:-1, D_IN:], task[-1, :D_IN]


def descended(task: np.ndarray, steps: int, rate: float) -> np.ndarray:
    """W [d_out, d_in] after so many steps on 1/(2N) Σ |W x_i - y_i|²."""
    X, Y, _ = parts(task)
    W = np.zeros((Y.shape[1], D_IN))
    for _ in range(steps):
        W = W - rate / len(X) * sum(np.outer(W @ x - y, x) for x, y in zip(X, Y, strict=True))
    return W


@pytest.mark.parametrize("steps", [1, 2, 5])
def test_gradient_descent_is_the_loop_over_its_steps(inputs: Tensor, steps: int) -> None:
    tasks = decompose(inputs, D_IN)
    weights, predictions = (getattr(gradient_descent(steps), name)(tasks, 1.7) for name in ("weights", "predictions"))
    for i, task in enumerate(inputs.numpy()):
        expected = descended(task, steps, 1.7)
        np.testing.assert_allclose(weights[i], expected, rtol=1e-10, atol=1e-13)
        np.testing.assert_allclose(predictions[i], expected @ parts(task)[2], rtol=1e-10, atol=1e-13)
        assert np.abs(descended(task, steps + 1, 1.7) - expected).max() > 1e-3  # a step more or less is another one


@pytest.mark.parametrize("steps", [1, 2, 3, 6])
def test_gradient_descent_is_the_constructed_transformer(steps: int) -> None:
    tasks = LinearRegression(7, 5, 2).sample(20, seed=1).inputs
    constructed = gd_transformer(7, 2.3, 5, 2, steps)(tasks)
    torch.testing.assert_close(
        gradient_descent(steps).predictions(decompose(tasks, 5), 2.3), constructed, rtol=1e-10, atol=1e-13
    )


def test_ridge_solves_its_normal_equations(inputs: Tensor) -> None:
    weights = RIDGE.weights(decompose(inputs, D_IN), 0.3)
    for task, W in zip(inputs.numpy(), weights.numpy(), strict=True):
        X, Y, _ = parts(task)
        np.testing.assert_allclose((X.T @ X + 0.3 * np.eye(D_IN)) @ W.T, X.T @ Y, rtol=1e-10, atol=1e-12)


def test_descent_and_ridge_end_at_least_squares(inputs: Tensor) -> None:
    tasks = decompose(inputs, D_IN)
    least = MINIMUM_NORM.predictions(tasks)
    torch.testing.assert_close(RIDGE.predictions(tasks, 1e-11), least, rtol=1e-6, atol=1e-7)
    torch.testing.assert_close(gradient_descent(40_000).predictions(tasks, 5.0), least, rtol=1e-6, atol=1e-6)
    assert float((RIDGE.predictions(tasks, 1.0) - least).abs().max()) > 0.1


def test_least_squares_of_minimum_norm_loses_what_it_cannot_see() -> None:
    """x, w ~ N(0, I), n < d labels without noise: the risk is d - n."""
    rng = torch.Generator().manual_seed(0)
    for n in (5, 10, 19, 40):
        x = torch.randn(2_000, n + 1, 20, generator=rng, dtype=torch.float64)
        y = x @ torch.randn(2_000, 20, 1, generator=rng, dtype=torch.float64)
        predictions = MINIMUM_NORM.predictions(decompose(torch.cat([x, y], dim=2), 20))
        squares = (predictions - y[:, -1]).square()
        assert float(squares.mean()) == pytest.approx(max(20 - n, 0), abs=4 * float(squares.std()) / 2_000**0.5 + 1e-9)


@pytest.mark.parametrize("n", [3, 8])
def test_least_squares_with_tokens_that_repeat(n: int) -> None:
    """Contexts of rank 2: singular values that are rounding errors are no directions to divide by."""
    inputs = LinearRegression(n, 4).sample(6, seed=2).inputs.clone()
    inputs[:, 2:n, :] = inputs[:, [0], :] * 0.5 + inputs[:, [1], :]
    predictions = MINIMUM_NORM.predictions(decompose(inputs, 4))
    for task, prediction in zip(inputs.numpy(), predictions.numpy(), strict=True):
        X, Y, query = parts(task)
        np.testing.assert_allclose(prediction, query @ np.linalg.lstsq(X, Y, rcond=None)[0], rtol=1e-9, atol=1e-12)


def test_the_floors_do_not_look_at_the_query(inputs: Tensor) -> None:
    tasks = decompose(inputs, D_IN)
    torch.testing.assert_close(MEAN_LABEL.predictions(tasks), inputs[:, :-1, D_IN:].mean(dim=1))
    assert not ZERO.predictions(tasks).any()
    for floor in (ZERO, MEAN_LABEL):
        assert floor.weights(tasks).shape == (6, 2, D_IN)
        assert not floor.weights(tasks).any()


def test_weights_are_the_derivative_of_predictions(inputs: Tensor) -> None:
    for algorithm in algorithms(range(1, 3)):
        moved = inputs.clone()
        moved[:, -1, 2] += 1.0
        before, after = (algorithm.predictions(decompose(x, D_IN), 0.7) for x in (inputs, moved))
        torch.testing.assert_close(
            after - before, algorithm.weights(decompose(inputs, D_IN), 0.7)[:, :, 2], rtol=1e-9, atol=1e-12
        )


def test_the_order_of_the_context_moves_nothing(inputs: Tensor) -> None:
    shuffled = torch.cat([inputs[:, [3, 0, 4, 1, 2]], inputs[:, -1:]], dim=1)
    for algorithm in algorithms(range(1, 4)):
        one, other = (algorithm.predictions(decompose(x, D_IN), 0.9) for x in (inputs, shuffled))
        torch.testing.assert_close(one, other, rtol=1e-9, atol=1e-12)


def test_every_algorithm_has_one_name_title_and_label() -> None:
    found = algorithms(range(1, 13))
    for field in ("name", "title", "label"):
        assert len({getattr(algorithm, field) for algorithm in found}) == len(found) == 16
    assert [algorithm.name for algorithm in algorithms(range(1, 3))] == [
        "zero",
        "mean_label",
        "ridge",
        "min_norm",
        "gd_1",
        "gd_2",
    ]
    assert [gradient_descent(k).title for k in (1, 2)] == ["1 step of gradient descent", "2 steps of gradient descent"]
    assert [gradient_descent(k).label for k in (1, 2)] == ["GD, 1 step", "GD, 2 steps"]
