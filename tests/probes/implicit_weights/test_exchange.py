"""The causal check beside passes in NumPy, and what gradient descent makes of an exchanged model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data.batch import Batch
from mesascope.models import RegressionTransformer, from_transformer, gd_transformer
from mesascope.probes import GDAlignment
from mesascope.probes.implicit_weights.exchange import Descent, exchange, exchanged_layers
from mesascope.probes.implicit_weights.held import Model

D, N = 3, 8
RandomModule = Callable[..., RegressionTransformer]


def examined(module: RegressionTransformer, **settings: Any) -> Any:
    return GDAlignment(limit=12, n_context=N, **settings).examined(from_transformer(module), 0, 64)


def one_layer(module: RegressionTransformer, layer: int, h: np.ndarray) -> np.ndarray:
    """Tokens [token, d_model] after one layer, by the text of von Oswald et al."""
    config = module.config
    block = 0 if config.tied else layer
    x, update = h, np.zeros_like(h)
    for head in range(config.n_heads):
        W_Q, W_K, W_V, W_O = (getattr(module, f"W_{role}")[block, head].numpy() for role in "QKVO")
        scores = (x @ W_Q) @ (x[:-1] @ W_K).T
        if config.softmax:
            weights = np.exp(scores / np.sqrt(config.d_head))
            scores = weights / weights.sum(axis=1, keepdims=True)
        update += scores @ (x[:-1] @ W_V) @ W_O
    return h + config.dampening * update


def states(module: RegressionTransformer, tokens: np.ndarray) -> list[np.ndarray]:
    held = [tokens]
    for layer in range(module.config.n_layers):
        held.append(one_layer(module, layer, held[-1]))
    return held[1:]


def continued(module: RegressionTransformer, layer: int, h: np.ndarray) -> np.ndarray:
    for later in range(layer + 1, module.config.n_layers):
        h = one_layer(module, later, h)
    return -h[-1, D:]


@pytest.mark.parametrize("settings", [
    {"n_layers": 3, "tied": False, "n_heads": 2, "d_out": 2},
    {"n_layers": 2, "dampening": 0.6},
    {"n_layers": 3, "softmax": True},
])  # fmt: skip
@pytest.mark.parametrize("sign", [1, -1])
def test_against_numpy(settings: dict[str, Any], sign: int, random_module: RandomModule) -> None:
    module = random_module(scale=2.0, **settings)
    held = examined(module, sign=sign, token_order="joint", label_slot=D)
    tasks: Batch = held.splits.evaluation
    model = Model(held)
    W = model.weights(tasks)
    rates = torch.tensor([0.7, 1.1, 0.3], dtype=torch.float64)[: module.config.n_layers]
    layers = exchanged_layers(module.config.n_layers)
    found = exchange(model, tasks, W, Descent(rates, 0.0), layers)
    assert found is not None
    tokens = tasks.inputs.double().numpy()
    for number, layer in enumerate(layers):
        for task in range(len(tokens)):
            X, query, y = tokens[task, :-1, :D], tokens[task, -1, :D], tokens[task, :-1, D:]
            own, other = W[layer, task].numpy(), W[layer, task - 1].numpy()
            difference = other - own
            h = states(module, tokens[task])[layer]
            left = np.eye(D)
            for rate in rates[layer + 1 :]:
                left = left @ (np.eye(D) - float(rate) * X.T @ X / N)
            direct, later = difference @ query, difference @ left @ query
            predicted = {"query": direct, "context": later - direct, "both": later}
            for place, expected in predicted.items():
                edited = h.copy()
                if place != "query":
                    edited[:-1, D:] -= X @ difference.T
                if place != "context":
                    edited[-1, D:] -= sign * difference @ query
                moved = sign * (continued(module, layer, edited) - continued(module, layer, h))
                sums = [moved @ direct, moved @ moved, direct @ direct, (moved - expected) @ (moved - expected)]
                got = found.changes[place][task, number].numpy()
                np.testing.assert_allclose(got, sums, rtol=1e-6, atol=1e-12)
            added = h[:-1, D:] - y
            sums = [np.square(added + X @ own.T).sum(), np.square(added).sum()]
            np.testing.assert_allclose(found.residuals[task, number].numpy(), sums, rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize("n_layers", [2, 4])
def test_descent_from_the_exchanged_model_is_all_that_happens(n_layers: int, read: Callable[..., Any]) -> None:
    found = read(gd_transformer(N, 3.0, D, n_layers=n_layers))
    for place in ("query", "context", "both"):
        np.testing.assert_allclose(found[f"exchange_followed_{place}"].values, 1, atol=1e-9)
    np.testing.assert_allclose(found["exchange_slope_query"].values, 1, atol=1e-9)
    np.testing.assert_allclose(found["residual_share"].values, 1, atol=1e-12)
    both, context = found["exchange_slope_both"].values, found["exchange_slope_context"].values
    assert (both < 1).all()  # later steps correct what was exchanged
    np.testing.assert_allclose(both, 1 + context, atol=1e-9)


def test_the_query_alone_is_no_evidence(read: Callable[..., Any], random_module: RandomModule) -> None:
    """An untrained model passes a label on as well."""
    found = read(random_module(scale=0.002, n_layers=2))
    np.testing.assert_allclose(found["exchange_slope_query"].values, 1, atol=1e-3)
    assert found["exchange_followed_context"].values[0] < 0.5
    assert "untrained models do the same" in " ".join(found.claim.limits)


def test_layers_after_which_models_are_exchanged() -> None:
    assert exchanged_layers(1) == []
    assert exchanged_layers(2) == [0]
    assert exchanged_layers(5) == [0, 1, 2, 3]
    many = exchanged_layers(100)
    assert (len(many), many[0], many[-1]) == (8, 0, 98)


def test_one_layer_and_predictors_have_none(read: Callable[..., Any]) -> None:
    found = read(gd_transformer(N, 3.0, D))
    assert found["exchange_followed_context"].status == "not applicable"
    assert "nothing was exchanged" in " ".join(found.claim.limits)
    assert "Later layers" not in found.claim.found
