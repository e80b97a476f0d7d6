"""Training by plain gradient descent on the expected loss: its steps, what does not learn, and where it rests."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.analyses.training import training
from mesascope.analyses.training.objectives import initial, objective, unflatten
from mesascope.analyses.training.recipe_kinds import PopulationRecipe
from mesascope.analyses.training.recipes import RECIPES, SHIPPED
from mesascope.analyses.training.training import train
from mesascope.analyses.training.training_run import TrainingRun
from mesascope.data.errors import MesascopeError, UsageError
from mesascope.models.opening.catalogue import read_header
from mesascope.models.opening.loading import load, load_all
from mesascope.probes.statistics.plateaus import plateaus

LEVELS = (1.0, 0.64057971, 0.37737216, 0.20980460, 0.13599507)
"""tr Λ - Σ_{i≤m} λ_i / (1 + (1 + tr Λ/λ_i)/N)."""
SMALL = PopulationRecipe(
    "small", "two heads", {"n_heads": 2, "d_head": 1, "dampening": 0.1}, (0, 4, 12),
    {"n_context": 10, "d_in": 3, "input_variances": (1.0, 0.5, 0.2), "noise": 0.1}, (0, 7), init_scale=0.5,
    learning_rate=0.05,
)  # fmt: skip
MERGED = replace(SMALL, name="small-merged", model={"n_heads": 2, "dampening": 0.1}, merged=True)


def recipe_of(name: str) -> PopulationRecipe:
    recipe = RECIPES[name]
    assert isinstance(recipe, PopulationRecipe)
    return recipe


@pytest.mark.parametrize("recipe", [SMALL, MERGED], ids=["separate", "merged"])
def test_a_step_is_the_learning_rate_times_the_gradient(recipe: PopulationRecipe, tmp_path: Path) -> None:
    weights = TrainingRun.start(recipe).weights
    minimised, expected = objective(recipe, weights), []
    for step in range(13):
        if step in recipe.checkpoint_steps:
            expected.append(weights.clone())
        losses, gradient = minimised(step)
        weights -= recipe.learning_rate * gradient
    assert losses.dtype == gradient.dtype == torch.float32
    path = train(recipe, tmp_path / "mine.safetensors")
    found = load_all(path, "step12")
    last = unflatten(recipe.config, expected[-1])
    for seed, subject in enumerate(found):
        for name, parameter in subject.module.named_parameters():
            torch.testing.assert_close(parameter.detach(), last[name][seed], rtol=0, atol=5e-5)
    held = read_header(path).record["training_loss"]
    assert held["seed7"][0] > held["seed7"][1] > held["seed7"][2]


def test_what_does_not_learn_is_an_identity(tmp_path: Path) -> None:
    for recipe in (SMALL, MERGED):
        module = load(train(recipe, tmp_path / recipe.name), "seed0-step12").module
        start = initial(recipe, 0)
        for name in ("W_Q", "W_K", "W_V", "W_O"):
            moved = not torch.equal(module.get_parameter(name).detach(), start[name].float())
            assert moved is (name not in recipe.fixed), name
        assert torch.equal(start["W_O"][0, 1], torch.eye(4, dtype=torch.float64)[-recipe.config.d_head :])
    assert MERGED.fixed == ("W_Q", "W_O")
    assert torch.equal(initial(MERGED, 7)["W_Q"][0, 1], torch.eye(4, dtype=torch.float64))
    assert not torch.equal(initial(MERGED, 7)["W_K"], initial(MERGED, 0)["W_K"])


@pytest.mark.parametrize("recipe", [SMALL, MERGED], ids=["separate", "merged"])
def test_a_broken_off_training_ends_in_the_same_bytes(
    recipe: PopulationRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(recipe, tmp_path / "whole").read_bytes()
    monkeypatch.setattr(training, "SAVE_EVERY", 5)
    monkeypatch.setattr(training, "REPORT_EVERY", 1)

    def stop(stage: str, fraction: float) -> None:
        if fraction >= 0.5:
            raise InterruptedError

    with pytest.raises(InterruptedError):
        train(recipe, tmp_path / "broken", progress=stop)
    assert (tmp_path / "broken.partial").exists()
    assert train(recipe, tmp_path / "broken").read_bytes() == whole
    assert train(recipe, tmp_path / "broken").read_bytes() == whole  # finished: found again
    with pytest.raises(UsageError, match=r"recipe\.learning_rate = 0\.05, here 0\.2"):
        train(replace(recipe, learning_rate=0.2), tmp_path / "broken")


def test_the_number_of_threads_changes_no_byte(tmp_path: Path) -> None:
    before = torch.get_num_threads()
    try:
        files = []
        for threads in (1, 2):
            torch.set_num_threads(threads)
            files.append(train(replace(SMALL, checkpoint_steps=(0, 30)), tmp_path / f"{threads}").read_bytes())
    finally:
        torch.set_num_threads(before)
    assert files[0] == files[1]


def test_divergence_is_told(tmp_path: Path) -> None:
    with pytest.raises(MesascopeError, match=r"the loss of seed 0 is (nan|inf) at step \d+; try a learning rate below"):
        train(replace(SMALL, learning_rate=1e6), tmp_path / "mine")


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"tasks": {"d_in": 3}}, "input_variances"),
        ({"tasks": {**SMALL.tasks, "n_corrupted": 1}}, "n_corrupted = 0"),
        ({"tasks": {**SMALL.tasks, "d_out": 2}}, "d_out = 1"),
        ({"model": {"n_layers": 2}}, "one layer of plain linear attention"),
        ({"model": {"softmax": True}}, "one layer of plain linear attention"),
        ({"model": {"d_head": 5}}, "d_head = 5; expected at most d_model = 4"),
        ({"model": {"d_head": 1}, "merged": True}, "d_head = 1; expected exactly d_model = 4"),
        ({"learning_rate": 0.0}, "learning_rate = 0.0"),
    ],
)
def test_a_recipe_that_cannot_be_trained_is_refused(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=message):
        train(replace(SMALL, **changes), tmp_path / "mine")
    assert list(tmp_path.iterdir()) == []


def test_settings_of_the_recipes_are_those_that_are_stated() -> None:
    for name, d_head, rate, merged in (("lsa-plateaus", 1, 0.3, False), ("lsa-plateaus-merged", 5, 0.1, True)):
        recipe, config = recipe_of(name), recipe_of(name).config
        assert (config.n_layers, config.n_heads, config.d_head, config.dampening) == (1, 4, d_head, 1 / 31)
        assert (recipe.learning_rate, recipe.init_scale, recipe.merged, recipe.steps) == (rate, 0.0005, merged, 60_000)
        assert recipe.family.variances == (0.4, 0.3, 0.2, 0.1)
        assert (recipe.family.n_context, recipe.family.noise, recipe.seeds) == (31, 0.0, (1, 2, 3, 6, 7))
        assert "batch_size" not in recipe.as_dict()
        assert name not in SHIPPED


def trained(name: str, **changes: Any) -> list[tuple[float, int, int]]:
    """Each plateau of one seed, of every step: loss, and first and last step."""
    recipe = replace(recipe_of(name), **changes)
    weights = TrainingRun.start(recipe).weights
    minimised, losses = objective(recipe, weights), []
    for step in range(recipe.steps + 1):
        loss, gradient = minimised(step)
        losses.append(float(loss))
        weights -= recipe.learning_rate * gradient
    found = plateaus(range(recipe.steps + 1), np.array(losses))
    return [(plateau.loss, plateau.first, plateau.last) for plateau in found]


def test_heads_of_rank_one_rest_at_every_level() -> None:
    """From a larger start, in fewer steps: within 2 % of the closed form."""
    found = trained("lsa-plateaus", seeds=(17,), init_scale=0.002, checkpoint_steps=(0, 6000))
    assert [loss for loss, _, _ in found] == pytest.approx(LEVELS, rel=0.02)
    assert all(first < last for _, first, last in found)


def test_with_query_and_key_merged_the_loss_falls_in_one_drop() -> None:
    found = trained("lsa-plateaus-merged", seeds=(1,), init_scale=0.002, checkpoint_steps=(0, 4000))
    assert [loss for loss, _, _ in found] == pytest.approx([LEVELS[0], LEVELS[-1]], rel=0.02)
