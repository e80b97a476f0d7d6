"""The closed form of one layer: a plain attention layer's loss, autograd's gradient, and nothing kept between steps."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.analyses.training import objectives
from mesascope.analyses.training.objectives import flatten, objective, unflatten
from mesascope.analyses.training.one_layer import has_closed_form, loss_and_gradient
from mesascope.analyses.training.recipe_kinds import TrainingRecipe
from mesascope.analyses.training.recipes import RECIPES
from mesascope.analyses.training.training import train
from mesascope.analyses.training.training_run import TrainingRun
from mesascope.data.errors import MesascopeError
from mesascope.models import RegressionConfig
from torch import Tensor

ONE_LAYER: dict[str, dict[str, Any]] = {
    "one head": {},
    "heads": {"n_heads": 3},
    "several outputs": {"d_out": 2},
    "narrow heads": {"d_head": 2, "n_heads": 2},
    "dampened": {"dampening": 0.7},
    "targets only, own weights": {"target_only": True, "tied": False},
    "causal": {"causal": True},
    "everything": {"n_heads": 2, "d_out": 3, "dampening": -0.4, "d_head": 5},
}
OTHERS: dict[str, dict[str, Any]] = {
    "two layers": {"n_layers": 2},
    "softmax": {"softmax": True},
    "layer norm": {"layer_norm": True},
    "query in context": {"query_in_context": True},
    "clip": {"activation_clip": 0.3},
}
SMALL = TrainingRecipe(
    "small", "a layer on narrow, noisy tasks", {"n_heads": 2, "dampening": 0.7}, (0, 4, 12),
    {"n_context": 4, "d_in": 3, "d_out": 2, "noise": 0.1}, (0, 7), batch_size=16, init_scale=0.1,
)  # fmt: skip


def plain_loss(config: RegressionConfig, weights: dict[str, Tensor], tokens: Tensor, targets: Tensor) -> Tensor:
    """Half the squared error of linear attention as the paper writes it: queries, keys and values of every token."""
    h = tokens
    for W_Q, W_K, W_V, W_O in zip(*(weights[name] for name in ("W_Q", "W_K", "W_V", "W_O")), strict=True):
        context = tokens[:, :-1]
        h = h + config.dampening * (tokens @ W_Q) @ (context @ W_K).mT @ (context @ W_V) @ W_O
    return 0.5 * (-h[:, -1, config.d_in :] - targets).square().sum(dim=1).mean()


@pytest.mark.parametrize("settings", ONE_LAYER.values(), ids=ONE_LAYER)
def test_loss_and_gradient_are_those_of_plain_attention_under_autograd(settings: dict[str, Any]) -> None:
    config = RegressionConfig(**({"d_in": 3, "d_head": 4} | settings))
    rng = torch.Generator().manual_seed(1)
    tokens = torch.randn(50, 6, config.d_model, generator=rng, dtype=torch.float64)
    tokens[:, -1, config.d_in :] = 0
    targets = torch.randn(50, config.d_out, generator=rng, dtype=torch.float64)
    weights = {
        name: (0.5 * torch.randn(shape[1:], generator=rng, dtype=torch.float64)).requires_grad_()
        for name, shape in config.shapes.items()
    }
    expected = plain_loss(config, weights, tokens, targets)
    expected.backward()
    found = {name: np.full(weight.shape, np.nan) for name, weight in weights.items()}
    arrays = {name: weight.detach().numpy() for name, weight in weights.items()}
    columns = tokens.permute(2, 1, 0).contiguous().numpy()
    loss = loss_and_gradient(config, arrays, found, columns, targets.T.contiguous().numpy())
    assert loss == pytest.approx(expected.item(), rel=1e-13)
    for name, weight in weights.items():
        assert weight.grad is not None
        assert weight.grad.abs().max() > 1e-3
        np.testing.assert_allclose(found[name], weight.grad, rtol=1e-11, atol=1e-12 * float(weight.grad.abs().max()))


def test_only_one_layer_that_merges_and_does_not_clip_has_a_closed_form() -> None:
    assert all(has_closed_form(RegressionConfig(**({"d_in": 3} | settings))) for settings in ONE_LAYER.values())
    assert not any(has_closed_form(RegressionConfig(d_in=3, **settings)) for settings in OTHERS.values())


@pytest.mark.parametrize("recipe", [SMALL, replace(RECIPES["lsa-1layer"], seeds=(0, 3))], ids=["small", "lsa-1layer"])
def test_every_seed_has_the_loss_and_the_gradient_of_its_own_tasks(
    recipe: TrainingRecipe, draw_step: Callable[..., tuple[Tensor, Tensor]]
) -> None:
    weights = TrainingRun.start(recipe).weights * 5
    losses, gradient = objective(recipe, weights)(3)
    inputs, targets = draw_step(recipe.family, recipe.batch_size, recipe.seeds, 3)
    for i in range(len(recipe.seeds)):
        named = {name: rows[i, 0].double() for name, rows in unflatten(recipe.config, weights).items()}
        named = {name: weight.requires_grad_() for name, weight in named.items()}
        loss = plain_loss(recipe.config, named, inputs[i].double(), targets[i].double())
        loss.backward()
        assert losses[i].item() == pytest.approx(loss.item(), rel=1e-6)
        expected = flatten(recipe.config, {name: weight.grad for name, weight in named.items()})
        torch.testing.assert_close(gradient[i], expected, rtol=1e-4, atol=1e-6 * float(expected.abs().max()))


def test_the_closed_form_needs_no_autograd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(objectives, "TrainingPass", None)
    objective(SMALL, TrainingRun.start(SMALL).weights)(0)
    clipped = replace(SMALL, model={"activation_clip": 0.3})
    with pytest.raises(TypeError):
        objective(clipped, TrainingRun.start(clipped).weights)(0)


def test_a_step_sees_weights_that_changed_and_nothing_of_the_step_before() -> None:
    weights = TrainingRun.start(SMALL).weights
    minimised = objective(SMALL, weights)
    first, _ = minimised(0)
    before = first.clone()
    _, gradient = minimised(5)
    weights -= 0.1 * gradient
    again, moved = minimised(0)
    fresh, of_fresh = objective(SMALL, weights.clone())(0)
    assert torch.equal(first, before)
    assert not torch.equal(again, before)
    assert torch.equal(again, fresh)
    assert torch.equal(moved, of_fresh)


def test_a_step_takes_no_memory_of_the_size_of_its_tasks() -> None:
    recipe = RECIPES["lsa-1layer"]
    assert isinstance(recipe, TrainingRecipe)
    minimised = objective(recipe, TrainingRun.start(recipe).weights)
    minimised(0)
    tracemalloc.start()
    try:
        minimised(1)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < recipe.batch_size * recipe.family.n_context * recipe.config.d_model * 4


@pytest.mark.parametrize("learning_rate", [1e5, 1e12, 1e25])
def test_divergence_is_told_without_a_warning(learning_rate: float, tmp_path: Path) -> None:
    """Where squares of errors overflow first, or predictions, or products of weights."""
    wild = replace(SMALL, learning_rate=learning_rate)
    with pytest.raises(MesascopeError, match=r"the loss of seed 0 is (nan|inf) at step \d+"):
        train(wild, tmp_path / "mine")
    assert list(tmp_path.iterdir()) == []
