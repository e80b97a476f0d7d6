"""Rules on features, beside loops in NumPy and written transformers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data.sine import SineRegression
from mesascope.models import RegressionTransformer
from mesascope.probes.deep_features.features import Features
from mesascope.probes.deep_features.fits import Rules, takes_one_linear_step

N = 5
Planted = Callable[..., RegressionTransformer]


def tasks(n: int = 7) -> torch.Tensor:
    return SineRegression(n_context=N).sample(n, 3).inputs


def embedded(module: RegressionTransformer, tokens: np.ndarray) -> np.ndarray:
    """e = t W_E, then e + gelu(e W_in + b_in) W_out + b_out, token by token."""
    at = {name: held.numpy() for name, held in module.named_parameters()}

    def gelu(x: np.ndarray) -> np.ndarray:
        return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))

    rows = []
    for token in tokens:
        e = token @ at["W_E"]
        rows.append(e + gelu(e @ at["embed_W_in"] + at["embed_b_in"]) @ at["embed_W_out"] + at["embed_b_out"])
    return np.array(rows)


@pytest.mark.parametrize("steps", [1, 3])
def test_descent_is_that_of_loops(steps: int, planted: Planted) -> None:
    """Gradient steps on W of 1/(2N) Σ (W f_i - s_i)², from 0."""
    module, inputs, rate = planted(), tasks(), 0.7
    answers = Features.of(module, inputs).descent(rate, steps)
    for task, answer in zip(inputs.numpy(), answers.numpy(), strict=True):
        h = embedded(module, task)
        f, s, W = h[:-1, :-1], h[:-1, -1], np.zeros(h.shape[1] - 1)
        for _ in range(steps):
            gradient = sum((W @ x - y) * x for x, y in zip(f, s, strict=True)) / N
            W = W - rate * gradient
        assert answer[0] == pytest.approx(W @ h[-1, :-1] - h[-1, -1], rel=1e-10)


def test_ridge_is_that_of_weights(planted: Planted) -> None:
    """(F^T F + λ I)⁻¹ F^T y, in the space of features."""
    module, inputs, penalty = planted(), tasks(), 0.3
    answers = Features.of(module, inputs).ridge(penalty)
    for task, answer in zip(inputs.numpy(), answers.numpy(), strict=True):
        h = embedded(module, task)
        f, y = h[:-1, :-1], task[:-1, 1]
        W = np.linalg.solve(f.T @ f + penalty * np.eye(f.shape[1]), f.T @ y)
        assert answer[0] == pytest.approx(W @ h[-1, :-1], rel=1e-10)


def test_a_step_as_attended_is_that_of_loops(random_attention: Planted) -> None:
    module, inputs, rate = random_attention(), tasks(), 0.7
    W_K, W_Q = module.W_K[0, 0], module.W_Q[0, 0]
    answers = Features.of(module, inputs).attended(W_K, W_Q, rate)
    for task, answer in zip(inputs.numpy(), answers.numpy(), strict=True):
        h = embedded(module, task)
        q, total = h[-1] @ W_Q.numpy(), 0.0
        for i in range(N):
            total += task[i, 1] * float(h[i] @ W_K.numpy() @ q)
        assert answer[0] == pytest.approx(-h[-1, -1] + rate / N * total, rel=1e-10)


@pytest.mark.parametrize("n_layers", [1, 2, 3])
def test_written_steps_are_descent_on_features(n_layers: int, planted: Planted) -> None:
    module = planted(n_layers=n_layers, rate=0.2)
    inputs = tasks()
    np.testing.assert_allclose(Features.of(module, inputs).descent(0.2, n_layers), module(inputs), rtol=1e-11)


@pytest.mark.parametrize(("n_layers", "rate"), [(1, 3.0), (1, -2.0), (2, 0.2)])
def test_the_rate_of_written_steps_is_found(n_layers: int, rate: float, planted: Planted) -> None:
    """Of any sign, where it is one step."""
    module, inputs = planted(n_layers=n_layers, rate=rate), tasks(40)
    rules = Rules.fitted(module, 1, inputs, module(inputs))
    assert rules.settings["feature_gd"].value == pytest.approx(rate, rel=1e-7)
    assert rules.settings["feature_gd"].n == 40
    np.testing.assert_allclose(rules.functions()["feature_gd"](tasks()), module(tasks()), rtol=1e-6)


def test_a_turned_model_has_turned_descent_and_the_same_labels(planted: Planted) -> None:
    """Of a model whose answers are turned, slots say the negative; ridge regression knows the labels themselves."""
    module, inputs = planted(), tasks(40)
    plain, turned = (Rules.fitted(module, sign, inputs, sign * module(inputs)) for sign in (1, -1))
    assert turned.settings["feature_gd"].value == pytest.approx(plain.settings["feature_gd"].value)
    for name in ("embedding", "feature_gd", "attended_gd"):
        np.testing.assert_allclose(turned.functions()[name](inputs), -plain.functions()[name](inputs), rtol=1e-9)
    assert (turned.functions()["zero"](inputs) == 0).all()
    ridge = turned.functions()["feature_ridge"](inputs)
    np.testing.assert_allclose(ridge, Features.of(module, inputs).ridge(turned.settings["feature_ridge"].value))


def test_fitted_settings_are_the_best(random_attention: Planted) -> None:
    module, inputs = random_attention(), tasks(40)
    answers = module(inputs)
    rules = Rules.fitted(module, 1, inputs, answers)
    features = Features.of(module, inputs)
    tries: dict[str, Callable[[float], Any]] = {
        "feature_gd": lambda rate: features.descent(rate, 1),
        "feature_ridge": features.ridge,
        "attended_gd": lambda rate: features.attended(module.W_K[0, 0], module.W_Q[0, 0], rate),
    }
    assert set(tries) == set(rules.settings)
    for name, answer in tries.items():
        best = rules.settings[name].value
        left = [float((answer(by * best) - answers).square().sum()) for by in (0.9, 1.0, 1.1)]
        assert left[1] < min(left[0], left[2])


def test_gradients_are_those_of_the_query_alone(planted: Planted) -> None:
    module, inputs = planted(), tasks().requires_grad_()
    Features.of(module, inputs).descent(0.7, 1).sum().backward()
    assert inputs.grad is not None
    assert (inputs.grad[:, :-1] == 0).all()
    assert (inputs.grad[:, -1, 0] != 0).all()


@pytest.mark.parametrize(("settings", "takes"), [
    ({}, True), ({"n_layers": 2}, False), ({"n_heads": 2}, False), ({"softmax": True}, False),
    ({"layer_norm": True}, False), ({"causal": True}, True), ({"mlp": "shared"}, True),
])  # fmt: skip
def test_which_models_take_one_linear_step(settings: dict[str, Any], takes: bool, random_attention: Planted) -> None:
    module = random_attention(**settings)
    assert takes_one_linear_step(module.config) == takes
    rules = Rules.fitted(module, 1, tasks(20), module(tasks(20)))
    assert ("attended_gd" in rules.functions()) == takes


def test_features_without_size_have_a_rate_of_0(planted: Planted) -> None:
    module = planted()
    with torch.no_grad():
        for name in ("W_E", "embed_W_out"):
            module.get_parameter(name).zero_()
    rules = Rules.fitted(module, 1, tasks(20), module(tasks(20)))
    assert rules.settings["feature_gd"].value == 0
    assert (rules.functions()["feature_gd"](tasks()) == 0).all()
