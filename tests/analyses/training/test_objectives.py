"""Losses and gradients of regression recipes: those of the transformer under autograd, seed by seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
import torch
from mesascope.analyses.training import objectives
from mesascope.analyses.training.embedding import EMBEDDING
from mesascope.analyses.training.objectives import objective, unflatten
from mesascope.analyses.training.recipe_kinds import EmbeddingRecipe, RepeatedTasksRecipe, TrainingRecipe
from mesascope.analyses.training.training_run import TrainingRun
from mesascope.models import RegressionConfig, RegressionTransformer
from torch import Tensor
from torch.func import functional_call

Draw = Callable[..., tuple[Tensor, Tensor]]
WIDE = {"n_context": 4, "d_in": 18, "d_out": 2, "noise": 0.1}
NARROW = {"n_context": 4, "d_in": 3, "d_out": 2, "noise": 0.1}
MODELS: dict[str, dict[str, Any]] = {
    "two layers": {"n_layers": 2},
    "deep, clipped": {"n_layers": 4, "tied": False, "n_heads": 2, "activation_clip": 0.5},
    "softmax": {"softmax": True, "n_heads": 2},
    "norm": {"n_layers": 2, "layer_norm": True},
    "MLPs": {"n_layers": 2, "mlp": "own", "tied": False, "d_head": 3},
    "codes": {"n_layers": 2, "d_position": 6, "token_order": "interleaved", "softmax": True, "linear_from": 1},
}
SINES = {"amplitudes": (0.1, 0.5)}


def recipe_of(model: dict[str, Any], tasks: dict[str, Any], kind: type[TrainingRecipe] = TrainingRecipe, **settings):
    return kind("mine", "mine", model, (0, 4), tasks, (3, 5), batch_size=23, init_scale=0.4, **settings)


def expected(config: RegressionConfig, row: Tensor, tokens: Tensor, targets: Tensor) -> tuple[float, Tensor]:
    leaf = row.double().requires_grad_()
    named = {name: weights[0] for name, weights in unflatten(config, leaf[None]).items()}
    blank = RegressionTransformer(config, {name: torch.zeros(shape) for name, shape in config.shapes.items()})
    errors = functional_call(blank, named, (tokens.double(),)) - targets.double()
    loss = 0.5 * errors.square().sum(dim=1).mean()
    return loss.item(), torch.autograd.grad(loss, leaf)[0]


@pytest.mark.parametrize("tasks", [NARROW, WIDE], ids=["narrow", "wide"])
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("at_once", [7, 23])
def test_each_seed_has_its_loss_and_gradient_however_many_tasks_are_at_once(
    model, tasks, at_once: int, draw_step: Draw, monkeypatch: pytest.MonkeyPatch
) -> None:
    recipe = recipe_of(model, tasks)
    monkeypatch.setattr(objectives, "tasks_at_once", lambda config, n_context: at_once)
    weights = TrainingRun.start(recipe).weights
    losses, gradient = objective(recipe, weights)(6)
    for i, (tokens, targets) in enumerate(zip(*draw_step(recipe.family, 23, recipe.seeds, 6), strict=True)):
        loss, of_weights = expected(recipe.config, weights[i], tokens, targets)
        assert losses[i].item() == pytest.approx(loss, rel=2e-6)
        assert of_weights.norm() > 1e-3
        torch.testing.assert_close(
            gradient[i].double(), of_weights, rtol=1e-5, atol=1e-5 * float(of_weights.abs().max())
        )


def test_an_embedding_learns_alone(draw_step: Draw) -> None:
    recipe = recipe_of({"d_embed": 6}, SINES, EmbeddingRecipe)
    weights = TrainingRun.start(recipe).weights
    losses, gradient = objective(recipe, weights)(2)
    tokens, targets = draw_step(recipe.family, 23, recipe.seeds, 2)
    loss, of_weights = expected(recipe.config, weights[1], tokens[1], targets[1])
    assert losses[1].item() == pytest.approx(loss, rel=1e-5)
    found, wanted = (unflatten(recipe.config, rows) for rows in (gradient, of_weights[None]))
    for name in recipe.config.shapes:
        assert wanted[name].abs().max() > 0
        assert bool(found[name].any()) == (name in EMBEDDING)
        if name in EMBEDDING:
            close = 1e-5 * float(wanted[name].abs().max())
            torch.testing.assert_close(found[name][1].double(), wanted[name][0], rtol=1e-4, atol=close)


def test_tasks_that_come_again_have_the_loss_that_they_had() -> None:
    recipe = recipe_of({"n_layers": 2}, NARROW, RepeatedTasksRecipe, n_batches=2)
    minimised = objective(recipe, TrainingRun.start(recipe).weights)
    first, second, third = (minimised(step)[0].clone() for step in range(3))
    assert torch.equal(first, third)
    assert not torch.equal(first, second)


def test_a_step_reads_the_weights_as_they_are_then() -> None:
    recipe = recipe_of({"n_layers": 2}, NARROW)
    weights = TrainingRun.start(recipe).weights
    minimised = objective(recipe, weights)
    before = minimised(0)[0].clone()
    weights.mul_(1.5)
    after, gradient = minimised(0)
    fresh, of_fresh = objective(recipe, weights.clone())(0)
    assert not torch.equal(before, after)
    assert torch.equal(after, fresh)
    assert torch.equal(gradient, of_fresh)


def test_a_seed_does_not_depend_on_those_beside_it() -> None:
    recipe = recipe_of({"n_layers": 2, "softmax": True}, NARROW)
    both, of_both = objective(recipe, TrainingRun.start(recipe).weights)(1)
    alone = replace(recipe, seeds=(5,))
    one, of_one = objective(alone, TrainingRun.start(alone).weights)(1)
    assert torch.equal(both[1:], one)
    assert torch.equal(of_both[1:], of_one)
