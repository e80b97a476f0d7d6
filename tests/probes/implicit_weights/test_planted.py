"""Stacks and functions that run a known rule are read off layer by layer; untrained ones are not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.models import RegressionTransformer, TokenLayout, from_predictor, gd_transformer, gdpp_transformer
from torch import Tensor

D, N = 3, 8
Reader = Callable[..., Any]


def joint(function: Callable[[Tensor, Tensor, Tensor], Tensor], d: int = D, d_out: int = 1) -> Any:
    """A function of X, Y and the query, as a subject."""

    def predict(tokens: Tensor) -> Tensor:
        return function(tokens[:, :-1, :d], tokens[:, :-1, d:], tokens[:, -1, :d])

    return from_predictor(predict, TokenLayout(d, d_out, order="joint", label_slot=d))


def by_matrix(weights: Callable[[Tensor, Tensor], Tensor]) -> Any:
    """One that answers W x."""
    return joint(lambda X, Y, x: torch.einsum("tyi,ti->ty", weights(X, Y), x))


def test_after_each_layer_of_gradient_descent_one_more_step(read: Reader) -> None:
    found = read(gd_transformer(N, 3.0, D, n_layers=5))
    assert found.claim.found.startswith("After layers 1 to 5: 1 to 5 steps of gradient descent (less than 0.1 % away).")
    assert found.claim.badge == "Output: 5 steps of gradient descent, less than 0.1 % away"
    np.testing.assert_array_equal(found["steps_gd"].values, [1, 2, 3, 4, 5])
    np.testing.assert_allclose(found["learning_rate_gd"].values, 3.0, rtol=1e-6)
    np.testing.assert_allclose(found["layer_learning_rate"].values, 3.0, rtol=1e-9)
    np.testing.assert_allclose(found["weight_distance_gd"].values, 0, atol=1e-6)
    np.testing.assert_allclose(found["layer_step_distance"].values, 0, atol=1e-12)
    np.testing.assert_allclose(found["linearity"].values, 1, atol=1e-12)
    assert found["descent_gamma"].estimate == 0
    assert "Later layers continue from this model" in found.claim.found


def test_rates_of_their_own_are_seen_layer_by_layer(read: Reader) -> None:
    """No number of steps at one rate is such a descent; each layer is a step all the same."""
    stack = gdpp_transformer(N, [4.0, 0.5, 2.0], [0.0, 0.0, 0.0], D, n_layers=3, tied=False)
    found = read(stack)
    np.testing.assert_allclose(found["layer_learning_rate"].values, [4.0, 0.5, 2.0], rtol=1e-9)
    np.testing.assert_allclose(found["layer_step_distance"].values, 0, atol=1e-12)
    assert found["weight_distance_gd"].values[1] > 0.02


def test_gdpp(read: Reader) -> None:
    found = read(gdpp_transformer(N, [4.0], [0.3], D, n_layers=3))
    assert "after layers 2 to 3: 2 to 3 steps of GD++ (less than 0.1 % away)" in found.claim.found
    np.testing.assert_allclose(found["gamma_gdpp"].values[1:], 0.3, rtol=1e-4)
    assert np.isnan(found["weight_distance_gdpp"].values[0])
    np.testing.assert_allclose(found["layer_learning_rate"].values, 4.0, rtol=1e-4)
    assert found["layer_step_distance"].values.max() < 1e-4
    np.testing.assert_allclose(found["exchange_followed_context"].values, 1, atol=1e-6)


def test_two_labels(read: Reader) -> None:
    found = read(gd_transformer(N, 2.0, D, d_out=2, n_layers=2))
    assert found.claim.found.startswith("After layers 1 to 2: 1 to 2 steps of gradient descent")
    assert found.arrays["weights"].shape == (60, 2, 2, D)


def least_squares(X: Tensor, Y: Tensor) -> Tensor:
    return (torch.linalg.pinv(X) @ Y).mT


def ridge(X: Tensor, Y: Tensor) -> Tensor:
    return torch.linalg.solve(X.mT @ X + 0.4 * torch.eye(X.shape[2], dtype=X.dtype), X.mT @ Y).mT


def newton(X: Tensor, Y: Tensor) -> Tensor:
    S = X.mT @ X
    M = 0.1 * S
    for _ in range(3):
        M = 2 * M - M @ S @ M
    return (M @ X.mT @ Y).mT


@pytest.mark.parametrize(
    ("weights", "name", "setting", "value"),
    [
        (least_squares, "minimum-norm least squares", "", 0.0),
        (ridge, "ridge regression", "penalty_ridge", 0.4),
        (newton, "3 iterations of Newton's method", "initial_scale_newton", 0.1),
    ],
)
def test_functions(
    weights: Callable[[Tensor, Tensor], Tensor], name: str, setting: str, value: float, read: Reader
) -> None:
    found = read(by_matrix(weights))
    assert found.claim.found == f"The answer: {name} (less than 0.1 % away)."
    assert found["loss"].labels("layer") == ("output",)
    if setting:
        assert found[setting].values == pytest.approx([value], rel=1e-3)


def test_a_preconditioner_is_told_from_plain_descent(read: Reader) -> None:
    P = torch.diag(torch.tensor([4.0, 1.0, 0.2]))
    found = read(by_matrix(lambda X, Y: Y.mT @ X @ P.to(X) / N))
    assert "1 step of preconditioned gradient descent (less than 0.1 % away)" in found.claim.found
    assert found["weight_distance_gd"].values[0] > 0.3


@pytest.mark.parametrize("settings", [{"n_layers": 2}, {"n_layers": 3, "tied": False, "n_heads": 2}, {"softmax": True}])
@pytest.mark.parametrize("seed", [1, 2])
def test_untrained_models_hold_no_rule(
    settings: dict[str, Any], seed: int, read: Reader, random_module: Callable[..., RegressionTransformer]
) -> None:
    found = read(random_module(seed, 0.2, **settings))
    assert "no rule" in found.claim.found
    assert "away" not in found.claim.badge
    assert found["weight_distance"].values[0].min() > 0.5
    assert "Later layers continue" not in found.claim.found


def test_nothing_at_all(read: Reader) -> None:
    zero = joint(lambda X, Y, x: 0 * x[:, :1])
    assert read(zero).claim.badge == "No weights"


def test_answers_that_are_not_linear_are_said_to_be(read: Reader) -> None:
    """Cubic in the query: what a query that attends to itself adds."""
    cubic = joint(lambda X, Y, x: (X[:, 0] * x).sum(1, keepdim=True) ** 3)
    found = read(cubic)
    assert found["linearity"].values[0] < 0.5
    assert found.claim.found.startswith("The model's answer is not linear in the query: a matrix explains ")
    assert found.claim.badge == "The answer is not linear in the query"


def test_a_function_without_a_gradient_is_not_measured(read: Reader) -> None:
    closed = joint(torch.no_grad()(lambda X, Y, x: torch.einsum("tyi,ti->ty", least_squares(X, Y), x)))
    found = read(closed)
    assert found["weight_distance_gd"].status == "not applicable"
    assert found.claim.badge == "Not applicable"
    assert "--sensitivities differences takes them without one" in found.claim.found
    with_differences = read(closed, sensitivities="differences")
    assert with_differences.claim.found.startswith("The answer: minimum-norm least squares")
