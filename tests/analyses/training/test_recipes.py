"""Recipes are plain values, checked when they are made, in the authors' settings."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from dataclasses import replace

import pytest
from mesascope.analyses.training.recipe_kinds import TrainingRecipe
from mesascope.analyses.training.recipes import RECIPES, SHIPPED
from mesascope.analyses.training.von_oswald_recipes import VON_OSWALD
from mesascope.data.errors import CheckpointRefused, UsageError
from mesascope.models.opening.catalogue import Member, read_header, shipped

OF_THE_PAPER = {*(recipe.name for recipe in VON_OSWALD), "lsa-5layers", "softmax-1layer-1head", "softmax-1layer-2heads"}
"""Beside the two that have shipped from the start."""


@pytest.mark.parametrize(
    ("name", "n_layers", "tied", "n_heads", "softmax", "steps", "rate", "clip", "scale", "activation_clip"),
    [
        ("lsa-1layer", 1, True, 1, False, 5000, 1e-3, 0.001, 0.002, None),
        ("lsa-2layer-recurrent", 2, True, 1, False, 5000, 1e-3, 0.001, 0.001, None),
        ("lsa-5layers", 5, False, 1, False, 50_000, 5e-4, 10.0, 0.0004, 10.0),
        ("softmax-1layer-1head", 1, True, 1, True, 10_000, 1e-3, 0.001, 0.002, None),
        ("softmax-1layer-2heads", 1, True, 2, True, 10_000, 1e-3, 0.001, 0.002, None),
    ],
)
def test_settings_are_the_authors(
    name, n_layers, tied, n_heads, softmax, steps, rate, clip, scale, activation_clip
) -> None:
    recipe = RECIPES[name]
    config, tasks = recipe.config, recipe.family
    assert (config.n_layers, config.tied, config.n_heads, config.softmax) == (n_layers, tied, n_heads, softmax)
    assert (config.d_in, config.d_out, config.d_head, config.activation_clip) == (10, 1, 11, activation_clip)
    assert (tasks.n_context, tasks.d_in, tasks.input_range, tasks.weight_scale, tasks.noise) == (10, 10, 1.0, 1.0, 0.0)
    assert (recipe.steps, recipe.learning_rate, recipe.clip_norm, recipe.init_scale) == (steps, rate, clip, scale)
    assert (recipe.batch_size, recipe.b1, recipe.b2, recipe.eps) == (2048, 0.9, 0.98, 1e-8)
    assert recipe.seeds == (0, 1, 2, 3, 4)


def test_a_causal_model_with_norms_has_settings_of_its_own() -> None:
    recipe = RECIPES["lsa-causal-layernorm"]
    config, tasks = recipe.config, recipe.family
    assert (config.n_layers, config.tied, config.n_heads, config.d_head) == (4, False, 1, 11)
    assert (config.causal, config.layer_norm, config.softmax) == (True, True, False)
    assert tasks == RECIPES["lsa-1layer"].family
    assert (recipe.steps, recipe.learning_rate, recipe.clip_norm, recipe.init_scale) == (6000, 3e-3, 1.0, 0.1)
    assert (recipe.batch_size, recipe.b1, recipe.b2, recipe.seeds) == (256, 0.9, 0.98, (0, 1, 2))


def test_settings_of_softmax_regression_are_those_that_are_stated() -> None:
    for name, scale, steps in (("", 1.0, 5000), ("-c4", 4.0, 3000), ("-c16", 16.0, 3000)):
        recipe = RECIPES[f"softmax-attention-1layer{name}"]
        assert (recipe.config.output_scale, recipe.config.d_in, recipe.family.n_tokens) == (scale, 20, 25)
        assert (recipe.family.input_scale, recipe.family.weight_scale, recipe.family.noise) == (2.0, 2.0, 0.0)
        assert (recipe.steps, recipe.learning_rate, recipe.batch_size, recipe.init_scale) == (steps, 3e-3, 256, 0.02)
        assert (recipe.b1, recipe.b2, recipe.seeds) == (0.9, 0.999, (0, 1, 2, 3, 4))


def test_mappings_differ_in_their_labels_alone() -> None:
    recipes = [RECIPES[f"{name}-mapping"] for name in ("icl", "iwl", "noise")]
    assert [recipe.family.labels for recipe in recipes] == ["in-context", "in-weights", "random"]
    assert {recipe.family.d_vocab for recipe in recipes} == {81}
    settings = [recipe.as_dict() for recipe in recipes]
    assert [one.pop("name") for one in settings] == [recipe.name for recipe in recipes]
    assert [one["tasks"].pop("labels") for one in settings] == [recipe.family.labels for recipe in recipes]
    assert settings[0] == settings[1] == settings[2]
    config = recipes[0].config
    assert (config.n_layers, config.n_heads, config.d_model, config.d_mlp, config.positions) == (
        2,
        4,
        64,
        256,
        "rotary",
    )
    assert sum(math.prod(shape) for shape in config.shapes.values()) == 110_545


def test_names_are_keys_and_summaries_are_lines() -> None:
    assert all(name == recipe.name and str(recipe) and "\n" not in str(recipe) for name, recipe in RECIPES.items())


def test_recipes_are_listed_without_torch() -> None:
    program = (
        "import sys; from mesascope.analyses.training.recipes import RECIPES;"
        " print(len(RECIPES), 'torch' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(len(RECIPES)), "False"]


@pytest.mark.parametrize("name", SHIPPED)
def test_what_ships_was_made_by_the_recipe_of_its_name(name: str) -> None:
    """Of all seeds and steps that the recipe can make, or of some of them."""
    header, recipe = read_header(shipped()[name]), RECIPES[name]
    seeds, steps = (tuple(header.record["recipe"][key]) for key in ("seeds", "checkpoint_steps"))
    assert set(seeds) <= set(recipe.seeds)
    assert set(steps) <= set(recipe.checkpoint_steps)
    made_by = replace(recipe, seeds=seeds, checkpoint_steps=steps)
    recorded = header.record["recipe"]
    if "model" in recorded:  # settings that the model has had only since then are at their defaults
        recorded = {**recorded, "model": type(made_by.config).from_dict(recorded["model"]).as_dict()}
    assert recorded == json.loads(json.dumps(made_by.as_dict()))
    assert set(header.members) == {Member(seed, step) for seed in seeds for step in steps}
    assert len(header.record["training_loss"][f"seed{seeds[0]}"]) == len(steps)


def test_what_ships_is_small() -> None:
    layers = [path.stat().st_size for name, path in shipped().items() if name.startswith("softmax-attention")]
    assert max(layers) < 100_000
    assert sum(path.stat().st_size for name, path in shipped().items() if name.startswith("copy-")) < 1_000_000
    assert sum(path.stat().st_size for name, path in shipped().items() if name.endswith("-mapping")) < 1_500_000
    assert sum(path.stat().st_size for name, path in shipped().items() if name in OF_THE_PAPER) < 2_000_000
    assert set(shipped()) == set(SHIPPED)
    assert sum(path.stat().st_size for path in shipped().values()) < 20_000_000


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"checkpoint_steps": ()}, "checkpoint_steps"),
        ({"checkpoint_steps": (0, 5, 5)}, "increasing"),
        ({"checkpoint_steps": (-1, 5)}, "all 0 or more"),
        ({"seeds": ()}, "seeds"),
        ({"seeds": (1, 1)}, "different seeds"),
        ({"seeds": (-1,)}, "all 0 or more"),
        ({"batch_size": 0}, "batch_size = 0"),
        ({"learning_rate": 0.0}, "learning_rate = 0.0"),
        ({"clip_norm": float("nan")}, "clip_norm = nan"),
        ({"init_scale": -1.0}, "init_scale"),
        ({"b2": 1.0}, "b2 = 1.0"),
    ],
)
def test_a_recipe_that_cannot_be_trained_is_refused(changes, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        replace(RECIPES["lsa-1layer"], **changes)


def test_an_unknown_model_setting_is_named() -> None:
    recipe = TrainingRecipe("mine", "mine", {"n_layer": 2}, (0, 1))
    with pytest.raises(CheckpointRefused, match=r"n_layer.*did you mean n_layers"):
        _ = recipe.config


def test_tokens_give_the_width_of_the_heads_unless_the_recipe_does() -> None:
    tasks = {"d_in": 3, "d_out": 2}
    assert TrainingRecipe("mine", "mine", {}, (1,), tasks).config.d_head == 5
    assert TrainingRecipe("mine", "mine", {"d_head": 7}, (1,), tasks).config.d_head == 7
