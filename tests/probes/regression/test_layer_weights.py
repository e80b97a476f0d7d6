"""The linear model after each layer: in closed form, as Jacobians, and beside passes that share nothing with them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.models import (
    RegressionConfig,
    RegressionTransformer,
    Regressor,
    TokenLayout,
    from_predictor,
    from_transformer,
    initialise,
)
from mesascope.models.constructed.gradient_descent import gd_transformer
from mesascope.probes import GDAlignment
from mesascope.probes.regression.examined import Examined
from mesascope.probes.regression.layer_weights import closed_form, has_closed_form, jacobian, layer_weights
from mesascope.probes.regression.nulls import untrained_models
from torch import Tensor

D = 3
LINEAR: list[dict[str, Any]] = [
    {},
    {"n_layers": 3, "tied": False, "n_heads": 2, "dampening": 0.7, "d_out": 2},
    {"n_layers": 3, "n_heads": 2, "target_only": True},
    {"n_layers": 3, "tied": False, "n_heads": 2, "dampening": 1.3, "d_out": 2, "target_only": True},
    {"n_layers": 3, "tied": False, "n_heads": 2, "d_out": 2, "causal": True},
]
OTHERS: list[dict[str, Any]] = [
    {"softmax": True, "n_layers": 3, "tied": False, "n_heads": 2},
    {"layer_norm": True, "n_layers": 3, "tied": False},
    {"layer_norm": True, "n_layers": 2, "softmax": True, "d_out": 2},
    {"activation_clip": 0.4, "n_layers": 2},
    {"query_in_context": True, "n_layers": 2},
    {"query_in_context": True, "n_layers": 2, "causal": True, "softmax": True},
]


def random_module(seed: int = 1, **settings: Any) -> RegressionTransformer:
    return initialise(RegressionConfig(d_in=D, d_head=4, **settings), 0.5, torch.Generator().manual_seed(seed))


def random_tasks(d_out: int = 1, n: int = 6, n_context: int = 7) -> Tensor:
    tokens = torch.randn(n, n_context + 1, D + d_out, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    tokens[:, -1, D:] = 0
    return tokens


def with_query(tokens: Tensor, query: Tensor) -> Tensor:
    return torch.cat([tokens[:, :-1], torch.cat([query, tokens[:, -1, D:]], dim=-1)[:, None]], dim=1)


def examined(subject: Regressor, **settings: Any) -> Examined:
    return GDAlignment(limit=40, n_context=8, **settings).examined(subject, seed=0, batch_size=16)


@pytest.mark.parametrize("settings", LINEAR)
def test_a_linear_stack_answers_every_query_by_its_weights(settings: dict[str, Any]) -> None:
    """Each column of W is the answer to a unit query: no derivative, no formula."""
    module = random_module(**settings)
    tokens = random_tasks(module.config.d_out)
    W = closed_form(module, tokens, batch_size=4)
    units = [module.predict_layers(with_query(tokens, unit.expand(len(tokens), -1))) for unit in torch.eye(D).double()]
    torch.testing.assert_close(W, torch.stack(units, dim=-1), rtol=1e-10, atol=1e-11)
    torch.testing.assert_close(jacobian(module, tokens, batch_size=4), W, rtol=1e-10, atol=1e-11)
    other = torch.randn(len(tokens), D, generator=torch.Generator().manual_seed(5), dtype=torch.float64)
    answers = torch.einsum("ltyx,tx->lty", W, other)
    torch.testing.assert_close(answers, module.predict_layers(with_query(tokens, other)), rtol=1e-10, atol=1e-11)


def test_against_the_text_of_the_specification(reference_transformer: Callable[..., np.ndarray]) -> None:
    """T_{l+1} = T_l + dampening T_l Σ KQ C^T C PV in NumPy, and the authors' transformer by loops."""
    module = random_module(n_layers=3, tied=False, n_heads=2, dampening=0.7, d_out=2).float()
    tokens = random_tasks(2)
    found = closed_form(module, tokens).numpy()
    weights = {role: module.get_parameter(role).double().numpy() for role in ("W_Q", "W_K", "W_V", "W_O")}
    for task, held in enumerate(tokens.numpy()):
        C, T = held[:-1], np.eye(5)
        for layer in range(3):
            step = sum(
                weights["W_Q"][layer, h] @ weights["W_K"][layer, h].T @ C.T @ C
                @ weights["W_V"][layer, h] @ weights["W_O"][layer, h] for h in range(2)
            )  # fmt: skip
            T, C = T + 0.7 * T @ step, C + 0.7 * C @ step
            np.testing.assert_allclose(found[layer, task], -T[:D, D:].T, rtol=1e-10, atol=1e-11)
    layers = [
        {
            **{name: np.concatenate(list(weights[role][n]), axis=1)
               for name, role in (("query", "W_Q"), ("key", "W_K"), ("value", "W_V"))},
            "linear": np.concatenate(list(weights["W_O"][n]), axis=0),
        }
        for n in range(3)
    ]  # fmt: skip
    by_loops = reference_transformer(tokens.numpy(), layers, n_heads=2, d_out=2, dampening=0.7)
    np.testing.assert_allclose(np.einsum("ltyx,tx->lty", found, tokens[:, -1, :D].numpy()), by_loops, rtol=1e-9)


@pytest.mark.parametrize("settings", OTHERS)
def test_elsewhere_they_are_the_slopes_of_each_layers_answer(settings: dict[str, Any]) -> None:
    module = random_module(**settings)
    tokens, step = random_tasks(module.config.d_out), 1e-5
    assert not has_closed_form(module.config)
    ahead, behind = (
        torch.stack(
            [module.predict_layers(with_query(tokens, tokens[:, -1, :D] + way * step * unit)) for unit in torch.eye(D)],
            dim=-1,
        )
        for way in (1, -1)
    )
    found = jacobian(module, tokens, batch_size=7)
    torch.testing.assert_close(found, (ahead - behind) / (2 * step), rtol=1e-6, atol=1e-8)
    assert found.dtype == torch.float64


def test_layer_by_layer_gradient_descent_takes_a_step() -> None:
    module = gd_transformer(8, 0.6, D, n_layers=4)
    tokens = random_tasks(n_context=8)
    X, y, w = tokens[:, :-1, :D].numpy(), tokens[:, :-1, D].numpy(), np.zeros((len(tokens), D))
    for W in closed_form(module, tokens).numpy():
        w = w + 0.6 / 8 * np.einsum("tnd,tn->td", X, y - np.einsum("tnd,td->tn", X, w))
        np.testing.assert_allclose(W[:, 0], w, rtol=1e-12)


@pytest.mark.parametrize("settings", [{"n_layers": 2, "tied": False}, {"n_layers": 2, "softmax": True}])
def test_of_an_examined_model_at_its_own_precision_and_sign(settings: dict[str, Any]) -> None:
    subject = from_transformer(random_module(**settings).float())
    plain, turned = (examined(subject, sign=sign, token_order="joint", label_slot=D) for sign in (1, -1))
    tasks = plain.splits.evaluation
    found = layer_weights(plain, tasks)
    assert found.exact is ("softmax" not in settings)
    assert found.weights.shape == (2, 40, 1, D)
    assert found.weights.dtype == torch.float64
    torch.testing.assert_close(found.weights[-1], plain.subject_behaviour(tasks).sensitivity, rtol=1e-4, atol=1e-6)
    assert torch.equal(layer_weights(turned, tasks).weights, -found.weights)
    (null,) = untrained_models(plain, 1)
    torch.testing.assert_close(
        layer_weights(plain, tasks, null).weights[-1], plain.behaviour(null.module, tasks).sensitivity,
        rtol=1e-4, atol=1e-9,
    )  # fmt: skip
    opposite = layer_weights(plain, tasks, replace(null, sign=-null.sign)).weights
    assert torch.equal(opposite, -layer_weights(plain, tasks, null).weights)


def test_the_batch_size_changes_nothing() -> None:
    tokens, module = random_tasks(), random_module(n_layers=3, softmax=True)
    for found in (closed_form, jacobian):
        torch.testing.assert_close(found(module, tokens, 2), found(module, tokens), rtol=1e-12, atol=1e-14)


def test_a_label_elsewhere_in_the_token_gives_the_same_weights() -> None:
    module = random_module(n_layers=2)
    front = from_transformer(module).read_as(TokenLayout(D, 1, "joint", 0))
    held = examined(front, token_order="joint", label_slot=0)
    tasks = held.splits.evaluation
    torch.testing.assert_close(layer_weights(held, tasks).weights[-1], held.subject_behaviour(tasks).sensitivity)


def test_a_predictor_has_one_read_out() -> None:
    def mean(tokens: Tensor) -> Tensor:
        return (tokens[:, :-1, D:] * (tokens[:, :-1, :D] * tokens[:, -1:, :D]).sum(-1, keepdim=True)).mean(dim=1)

    layout = TokenLayout(D, order="joint", label_slot=D)
    held = examined(from_predictor(mean, layout))
    tasks = held.splits.evaluation
    found = layer_weights(held, tasks)
    X, Y = tasks.inputs[:, :-1, :D].double(), tasks.inputs[:, :-1, D:].double()
    torch.testing.assert_close(found.weights[0], Y.mT @ X / 8, rtol=1e-6, atol=1e-7)
    assert not found.exact
    assert not found.missing
    with_differences = examined(from_predictor(mean, layout), sensitivities="differences")
    torch.testing.assert_close(layer_weights(with_differences, tasks).weights, found.weights, rtol=1e-3, atol=1e-4)


def test_a_predictor_without_a_gradient_says_so() -> None:
    @torch.no_grad()
    def closed(tokens: Tensor) -> Tensor:
        return tokens[:, 0, D:] * tokens[:, -1, :1]

    held = examined(from_predictor(closed, TokenLayout(D, order="joint", label_slot=D)))
    found = layer_weights(held, held.splits.evaluation)
    assert found.weights.isnan().all()
    assert "--sensitivities differences" in found.missing
