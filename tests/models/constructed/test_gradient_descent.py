"""Weights we wrote do what they claim: explicit gradient descent, its curved variant, and the closed forms of both."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mesascope.data import LinearRegression
from mesascope.models import RegressionTransformer, gd_transformer, gdpp_products, gdpp_transformer, with_start_weights
from torch import Tensor

sizes = {
    "n_context": st.integers(1, 12),
    "d_in": st.integers(1, 7),
    "d_out": st.integers(1, 3),
    "n_layers": st.integers(1, 5),
}


def gradient_descent(
    tokens: np.ndarray, d_in: int, steps: int, learning_rate: float, W0: np.ndarray, dampening: float = 1.0
) -> np.ndarray:
    """Predictions W x_q after each step of descent on 1/(2N) Σ |W x_i - y_i|², one context pair after the other."""
    x, y, query = tokens[:-1, :d_in], tokens[:-1, d_in:], tokens[-1, :d_in]
    W, predictions = W0.copy(), []
    for _ in range(steps):
        gradient = np.zeros_like(W)
        for x_i, y_i in zip(x, y, strict=True):
            gradient += np.outer(W @ x_i - y_i, x_i) / len(x)
        W = W - dampening * learning_rate * gradient
        predictions.append(W @ query)
    return np.array(predictions)


def gdpp(tokens: np.ndarray, d_in: int, rates: list[float], gammas: list[float]) -> np.ndarray:
    """Predictions of GD++: residuals and inputs both move, by the inputs as they were before the step."""
    x, y = tokens[:, :d_in].copy(), tokens[:, d_in:].copy()
    n, predictions = len(tokens) - 1, []
    y[-1] = 0.0
    for rate, gamma in zip(rates, gammas, strict=True):
        x_next, y_next = x.copy(), y.copy()
        for j in range(n + 1):
            for i in range(n):
                overlap = x[i] @ x[j]
                y_next[j] -= rate / n * y[i] * overlap
                x_next[j] -= gamma * x[i] * overlap
        x, y = x_next, y_next
        predictions.append(-y[-1])
    return np.array(predictions)


def assert_close(found: Tensor, expected: np.ndarray) -> None:
    assert np.abs(found.numpy() - expected).max() <= 1e-10 * max(1.0, np.abs(expected).max())


@given(**sizes, learning_rate=st.floats(-1.0, 8.0), start=st.booleans(), seed=st.integers(0, 999))
def test_layers_are_steps_of_gradient_descent(
    n_context: int, d_in: int, d_out: int, n_layers: int, learning_rate: float, start: bool, seed: int
) -> None:
    batch = LinearRegression(n_context, d_in, d_out).sample(3, seed)
    W0 = torch.randn(d_out, d_in, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * start
    model = gd_transformer(n_context, learning_rate, d_in, d_out, n_layers, W0=W0 if start else None)
    found = model.predict_layers(with_start_weights(batch.inputs, W0))
    for task in range(3):
        assert_close(
            found[:, task], gradient_descent(batch.inputs[task].numpy(), d_in, n_layers, learning_rate, W0.numpy())
        )


def test_the_authors_own_demonstration() -> None:
    """A hundred steps for 12 inputs, 8 outputs, 45 pairs, rate 1 and random start weights."""
    batch = LinearRegression(n_context=45, d_in=12, d_out=8).sample(2, seed=0)
    W0 = torch.randn(8, 12, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = gd_transformer(45, 1.0, 12, 8, n_layers=100, W0=W0).predict_layers(with_start_weights(batch.inputs, W0))
    for task in range(2):
        assert_close(found[:, task], gradient_descent(batch.inputs[task].numpy(), 12, 100, 1.0, W0.numpy()))


def test_start_weights_need_their_start() -> None:
    """The query's y slot at 0 with W0 in the values is a near miss, not gradient descent from W0."""
    batch = LinearRegression(d_in=3).sample(4, seed=0)
    W0 = torch.ones(1, 3, dtype=torch.float64)
    model = gd_transformer(10, 2.0, 3, W0=W0)
    inputs = with_start_weights(batch.inputs, W0)
    assert torch.equal(inputs[:, :-1], batch.inputs[:, :-1])
    assert torch.equal(inputs[:, -1, 3], -batch.inputs[:, -1, :3].sum(dim=1))
    assert torch.equal(batch.inputs[:, -1, 3], torch.zeros(4, dtype=torch.float64))
    assert (model(inputs) - model(batch.inputs)).abs().min() > 1e-3


def test_dampening_is_a_smaller_rate() -> None:
    batch = LinearRegression(d_in=4).sample(3, seed=1)
    damped = gd_transformer(10, 4.0, 4, n_layers=5, dampening=0.75).predict_layers(batch.inputs)
    for task in range(3):
        tokens = batch.inputs[task].numpy()
        assert_close(damped[:, task], gradient_descent(tokens, 4, 5, 4.0, np.zeros((1, 4)), dampening=0.75))


@given(**sizes, tied=st.booleans(), rate=st.floats(0.1, 5.0), gamma=st.floats(-0.1, 0.2), seed=st.integers(0, 999))
def test_gdpp_is_its_own_recursion(
    n_context: int, d_in: int, d_out: int, n_layers: int, tied: bool, rate: float, gamma: float, seed: int
) -> None:
    blocks = 1 if tied else n_layers
    rates, gammas = [rate * (1 + 0.3 * k) for k in range(blocks)], [gamma * (1 - 0.2 * k) for k in range(blocks)]
    model = gdpp_transformer(n_context, rates, gammas, d_in, d_out, n_layers, tied)
    repeat = n_layers if tied else 1
    batch = LinearRegression(n_context, d_in, d_out).sample(3, seed)
    found = model.predict_layers(batch.inputs)
    for task in range(3):
        assert_close(found[:, task], gdpp(batch.inputs[task].numpy(), d_in, rates * repeat, gammas * repeat))


def test_gdpp_without_curvature_is_gradient_descent() -> None:
    batch = LinearRegression().sample(20, seed=2)
    flat = gdpp_transformer(10, [3.0], [0.0], 10, n_layers=4).predict_layers(batch.inputs)
    torch.testing.assert_close(flat, gd_transformer(10, 3.0, 10, n_layers=4).predict_layers(batch.inputs))
    curved = gdpp_transformer(10, [3.0], [0.1], 10, n_layers=4).predict_layers(batch.inputs)
    torch.testing.assert_close(curved[0], flat[0])  # the first read-out does not yet see the moved inputs
    assert (curved[1:] - flat[1:]).abs().mean() > 1e-2


def test_the_authors_initial_guess_of_gdpp() -> None:
    """Their lin_diag weights, V = diag(1, -1) and P = diag(-lr/N², lr/N), have gamma = lr/N²."""
    KQ, PV = gdpp_products(10, torch.tensor([5.0]), torch.tensor([5.0 / 100]), d_in=3)
    V = torch.diag(torch.tensor([1.0, 1.0, 1.0, -1.0]))
    P = torch.diag(torch.tensor([-0.05, -0.05, -0.05, 0.5]))
    torch.testing.assert_close(PV[0, 0], V @ P)
    torch.testing.assert_close(KQ[0, 0], torch.diag(torch.tensor([1.0, 1.0, 1.0, 0.0])))


def test_gdpp_products_are_differentiable_in_both_rates() -> None:
    rates, gammas = (torch.tensor([1.0, 2.0], requires_grad=True) for _ in range(2))
    gdpp_products(10, rates, gammas, d_in=3, d_out=2)[1].sum().backward()
    assert rates.grad is not None
    assert gammas.grad is not None
    torch.testing.assert_close(rates.grad, torch.full((2,), -0.2))
    torch.testing.assert_close(gammas.grad, torch.full((2,), -3.0))


@pytest.mark.parametrize(("n_rates", "n_gammas", "tied"), [(2, 2, True), (1, 2, False), (2, 1, False), (0, 0, True)])
def test_as_many_rates_as_blocks(n_rates: int, n_gammas: int, tied: bool) -> None:
    with pytest.raises(ValueError, match=f"{n_rates} learning rates and {n_gammas} gammas; expected"):
        gdpp_transformer(10, [1.0] * n_rates, [0.1] * n_gammas, d_in=3, n_layers=2, tied=tied)


def test_constructions_pass_their_facts_on() -> None:
    for model in (
        gd_transformer(10, 1.0, 4, 2, 3, dampening=0.5, activation_clip=2.0, dtype=torch.float32),
        gdpp_transformer(10, [1.0], [0.1], 4, 2, 3, dampening=0.5, activation_clip=2.0, dtype=torch.float32),
    ):
        config = model.config
        assert (config.d_in, config.d_out, config.n_layers, config.tied) == (4, 2, 3, True)
        assert (config.dampening, config.activation_clip, config.softmax) == (0.5, 2.0, False)
        assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}


# ---- closed forms: section 3 of the authors' construction, [derived] ----


def moments(n: int, d: int, input_range: float) -> tuple[float, float]:
    """(s, M): the variance of an input, and E tr S² for S = 1/N Σ x x^T."""
    a = input_range / 2
    s, k4 = a**2 / 3, a**4 / 5
    return s, (d * k4 + d * (d - 1) * s**2) / n + (1 - 1 / n) * d * s**2


def expected_loss(learning_rate: float, n: int, d: int, input_range: float = 1.0) -> float:
    s, M = moments(n, d, input_range)
    return 0.5 * s * (d - 2 * learning_rate * d * s + learning_rate**2 * M)


def losses(model: RegressionTransformer, tasks: LinearRegression, n: int = 20_000) -> np.ndarray:
    batch = tasks.sample(n, seed=11)
    return (0.5 * (model(batch.inputs) - batch.targets) ** 2).numpy()


def test_the_papers_numbers_follow_from_the_closed_form() -> None:
    s, M = moments(10, 10, 1.0)
    best = 10 * s / M
    assert best == pytest.approx(6.0606, abs=1e-4)
    assert expected_loss(best, 10, 10) == pytest.approx(0.20623, abs=1e-5)
    assert expected_loss(0.0, 10, 10) == pytest.approx(10 / 24)
    # the same from the best multiple c of X^T y: N c = lr
    m4 = 1 / 80
    c = s / ((m4 + 9 * s**2) + 9 * s**2)
    assert 10 * c == pytest.approx(best)
    assert 0.5 * s * 10 * (1 - 10 * s * c) == pytest.approx(expected_loss(best, 10, 10))


@pytest.mark.parametrize("learning_rate", [0.0, 2.0, 6.0606, 9.0])
@pytest.mark.parametrize(("n", "d", "input_range"), [(10, 10, 1.0), (5, 3, 1.0), (20, 4, 2.0), (2, 10, 0.5)])
def test_one_step_loses_what_the_closed_form_says(learning_rate: float, n: int, d: int, input_range: float) -> None:
    learning_rate /= input_range**2
    loss = losses(gd_transformer(n, learning_rate, d), LinearRegression(n, d, input_range=input_range))
    error = loss.std() / math.sqrt(loss.size)
    assert abs(loss.mean() - expected_loss(learning_rate, n, d, input_range)) < 4 * error
    assert error < 0.03 * loss.mean()


def test_a_nearby_formula_is_told_apart() -> None:
    """Near misses: eta for eta/N, inputs from U(-1, 1), the loss without its half."""
    loss = losses(gd_transformer(10, 6.0606, 10), LinearRegression())
    error = loss.std() / math.sqrt(loss.size)
    for wrong in (
        expected_loss(0.60606, 10, 10),
        expected_loss(6.0606, 10, 10, 2.0),
        2 * expected_loss(6.0606, 10, 10),
    ):
        assert abs(loss.mean() - wrong) > 20 * error


def test_the_population_optimum_is_the_minimum_over_rates() -> None:
    tasks = LinearRegression()
    at = {rate: losses(gd_transformer(10, rate, 10), tasks).mean() for rate in (5.0, 5.5, 6.0606, 6.6, 7.2)}
    assert min(at, key=lambda rate: at[rate]) == 6.0606


# ---- the implicit model of any linear-attention stack ----


@pytest.mark.parametrize(
    "settings",
    [{"n_layers": 3, "tied": False}, {"n_layers": 3}, {"n_layers": 2, "tied": False, "n_heads": 3}, {"d_out": 2}],
)
def test_every_linear_stack_keeps_a_linear_model(
    random_model: Callable[..., RegressionTransformer],
    random_inputs: Callable[..., Tensor],
    settings: dict[str, int | bool],
) -> None:
    """T_0 = I, T_{l+1} = T_l + Σ_heads T_l KQ C^T C PV: after layer l the query token is [x_q, 0] T_l."""
    model = random_model(**settings)
    d, weights = model.config.d_in, model.weights()
    inputs = random_inputs(model.config.d_model) * 0.5
    inputs[:, -1, d:] = 0
    watched = model.run(inputs, watch={"resid_pre": lambda activation, layer: activation}).values["resid_pre"]
    readouts = model.predict_layers(inputs)
    for task, tokens in enumerate(inputs):
        T = torch.eye(model.config.d_model, dtype=torch.float64)
        for layer in range(model.config.n_layers):
            C = watched[layer][task, :-1]
            T = T + sum(T @ KQ @ C.T @ C @ PV for KQ, PV in zip(weights.KQ[layer], weights.PV[layer], strict=True))
            w = -T[:d, d:]
            torch.testing.assert_close(tokens[-1, :d] @ w, readouts[layer, task], rtol=1e-11, atol=1e-12)
