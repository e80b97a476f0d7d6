"""Training copy models: the stated loss, one gradient a seed, twins that start alike, and the same bytes whatever comes
between.
"""

from __future__ import annotations

import copy
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.analyses import RECIPES, CopyRecipe
from mesascope.analyses.training import training
from mesascope.analyses.training.objectives import initial, objective, unflatten
from mesascope.analyses.training.training import train
from mesascope.analyses.training.training_run import TrainingRun
from mesascope.data import CopyTask, UsageError
from mesascope.models import CopyModel, CopyTransformer, load_all
from mesascope.models.opening.catalogue import read_header
from mesascope.models.own.plain_pass import plain_copies
from torch import Tensor

TINY = CopyRecipe(
    name="tiny",
    summary="a few steps on short sources",
    model={"d_model": 6, "n_heads": 2, "d_head": 3},
    tasks={"n_words": 7, "n_tokens": 5},
    checkpoint_steps=(0, 4, 12),
    seeds=(0, 7),
    batch_size=4,
)
BETA = ("W_E", "W_pos", "W_V", "W_O", "W_U")
ATTENTION = ("W_query", "W_Q", "W_K")


def uniform(recipe: CopyRecipe) -> CopyRecipe:
    return replace(recipe, model={**recipe.model, "uniform_attention": True})


def gradients(recipe: CopyRecipe, step: int = 0) -> dict[str, Tensor]:
    return unflatten(recipe.config, objective(recipe, TrainingRun.start(recipe).weights)(step)[1])


def test_the_loss_is_the_cross_entropy_of_every_target() -> None:
    losses, _ = objective(TINY, TrainingRun.start(TINY).weights)(3)
    for seed, loss in zip(TINY.seeds, losses, strict=True):
        weights = {name: weight.double().numpy() for name, weight in initial(TINY, seed).items()}
        nats = []
        for words in TINY.family.draw(4, seed, 3).numpy():
            for logits, word in zip(plain_copies(TINY.config, weights, words).output, words, strict=True):
                nats.append(np.log(np.exp(logits).sum()) - logits[word])
        assert float(loss) == pytest.approx(np.mean(nats), rel=1e-5)


def test_each_seed_has_its_own_gradient() -> None:
    found = gradients(TINY)
    for row, seed in enumerate(TINY.seeds):
        module = CopyTransformer(TINY.config, initial(TINY, seed)).requires_grad_()
        tokens = TINY.family.draw(4, seed, 0)
        loss = torch.nn.functional.cross_entropy(module(tokens).flatten(0, 1), tokens.flatten())
        for name, alone in zip(module.weights, torch.autograd.grad(loss, list(module.parameters())), strict=True):
            torch.testing.assert_close(found[name][row], alone, rtol=1e-4, atol=1e-7)


@pytest.mark.parametrize("initialisation", ["gaussian", "unit", "linear"])
def test_a_uniform_twin_starts_from_the_same_weights_and_sees_the_same_sources(initialisation: Any) -> None:
    recipe = replace(TINY, initialisation=initialisation)
    twin = uniform(recipe)
    for seed in TINY.seeds:
        theirs, own = initial(twin, seed), initial(recipe, seed)
        assert set(theirs) == set(BETA)
        assert all(torch.equal(theirs[name], own[name]) for name in BETA)
        assert torch.equal(recipe.family.draw(4, seed, 9), twin.family.draw(4, seed, 9))


def test_a_frozen_beta_stays_and_attention_has_the_gradient_that_it_always_has() -> None:
    frozen, free = gradients(replace(TINY, frozen_beta=True)), gradients(TINY)
    for name in BETA:
        assert (frozen[name] == 0).all()
        assert float(free[name].abs().max()) > 0
    for name in ATTENTION:
        torch.testing.assert_close(frozen[name], free[name])


@pytest.mark.parametrize(
    ("changes", "still", "moving"),
    [({}, (), BETA + ATTENTION), ({"frozen_beta": True}, BETA, ATTENTION)],
)
def test_what_does_not_learn_ends_as_it_started(changes: Any, still: Any, moving: Any, tmp_path: Path) -> None:
    first, *_, last = load_all(train(replace(TINY, **changes), tmp_path / "x"), "all")[:3]
    assert isinstance(first, CopyModel)
    assert isinstance(last, CopyModel)
    before, after = first.module.weights, last.module.weights
    assert all(torch.equal(before[name], after[name]) for name in still)
    assert all(not torch.equal(before[name], after[name]) for name in moving)


@pytest.mark.parametrize(
    ("initialisation", "rows", "deviation", "largest"),
    [("gaussian", 0.1, 1.0, None), ("unit", 1.0, 1.0, None), ("linear", 1.0, 1 / math.sqrt(3), 1.0)],
)
def test_initial_weights_are_distributed_as_stated(
    initialisation: Any, rows: float, deviation: float, largest: float | None
) -> None:
    recipe = replace(
        TINY, initialisation=initialisation, model={"d_model": 100, "n_heads": 4, "d_head": 25}, init_scale=2.0
    )
    for name, weight in initial(recipe, 0).items():
        fan_in = weight.shape[-2]
        expected = rows if name in ("W_E", "W_pos", "W_query") else deviation / math.sqrt(fan_in)
        assert float(weight.std()) == pytest.approx(2 * expected, rel=0.1)
        if largest is not None and name in ("W_Q", "W_K", "W_V", "W_O", "W_U"):
            assert float(weight.abs().max()) <= 2 * largest / math.sqrt(fan_in)
    seeds = [initial(recipe, seed)["W_V"] for seed in (0, 0, 1)]
    assert torch.equal(seeds[0], seeds[1])
    assert not torch.equal(seeds[0], seeds[2])


@pytest.mark.parametrize("recipe", [TINY, uniform(TINY), replace(TINY, frozen_beta=True)])
def test_a_broken_off_training_ends_in_the_same_bytes(
    recipe: CopyRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = train(recipe, tmp_path / "whole").read_bytes()
    monkeypatch.setattr(training, "REPORT_EVERY", 1)
    monkeypatch.setattr(training, "SAVE_EVERY", 3)

    def stop(stage: str, fraction: float) -> None:
        if fraction >= 0.5:
            raise RuntimeError(stage)

    with pytest.raises(RuntimeError):
        train(recipe, tmp_path / "part", progress=stop)
    assert train(recipe, tmp_path / "part").read_bytes() == whole
    assert train(replace(recipe, initialisation="unit"), tmp_path / "other").read_bytes() != whole


def test_a_training_learns_and_one_with_uniform_attention_does_not(tmp_path: Path) -> None:
    recipe = replace(TINY, checkpoint_steps=(0, 150), learning_rate=3e-2, batch_size=32)
    for first, last in read_header(train(recipe, tmp_path / "x")).record["training_loss"].values():
        assert last < 0.1 < math.log(5) < first
    for _, last in read_header(train(uniform(recipe), tmp_path / "y")).record["training_loss"].values():
        assert last == pytest.approx(math.log(5), rel=0.06)  # the words that the source holds, and no more


def test_the_shipped_models_show_both_outcomes() -> None:
    accuracy = {}
    for name in ("copy-permutations-1head", "copy-permutations-8heads", "copy-40of60-1head", "copy-40of60-8heads"):
        for subject in load_all(name):
            assert isinstance(subject, CopyModel)
            tokens = CopyTask.recorded(subject.source.record, subject.config.d_vocab, 40).sample(50, seed=0).tokens
            accuracy[subject.source.label] = float((subject.logits(tokens).argmax(dim=-1) == tokens).double().mean())
    failed = accuracy.pop("copy-permutations-1head-seed0-step100")
    assert failed < 0.5
    assert len(accuracy) == 5
    assert min(accuracy.values()) > 0.95


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frozen_beta": True, "model": {"uniform_attention": True}}, "leave nothing to train"),
        ({"batch_size": 0}, "batch_size = 0"),
    ],
)
def test_a_recipe_that_cannot_be_trained_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(UsageError, match=message):
        replace(TINY, **changes)


def test_an_initialisation_that_is_not_known_is_refused() -> None:
    recipe = copy.copy(TINY)
    object.__setattr__(recipe, "initialisation", "gausian")
    with pytest.raises(
        UsageError, match=r"initialisation = 'gausian': expected gaussian, unit, linear; did you mean gau"
    ):
        recipe.__post_init__()


def test_settings_of_the_recipes_are_those_that_are_stated() -> None:
    for task, n_words in (("permutations", 40), ("40of60", 60)):
        for heads, n_heads, d_head in (("1head", 1, 32), ("8heads", 8, 16)):
            for suffix in ("", "-uniform", "-frozen-beta"):
                recipe = RECIPES[f"copy-{task}-{heads}{suffix}"]
                assert isinstance(recipe, CopyRecipe)
                config = recipe.config
                assert recipe.family == CopyTask(n_words, 40)
                assert (config.d_vocab, config.n_ctx, config.d_model, config.positions_in_values) == (
                    n_words,
                    40,
                    32,
                    1,
                )
                assert (config.n_heads, config.d_head) == (n_heads, d_head)
                assert (config.uniform_attention, recipe.frozen_beta) == (
                    suffix == "-uniform",
                    suffix == "-frozen-beta",
                )
                assert (recipe.steps, recipe.batch_size, recipe.learning_rate, recipe.clip_norm) == (100, 64, 5e-3, 1.0)
                assert (recipe.b1, recipe.b2, recipe.initialisation, recipe.init_scale) == (0.9, 0.999, "gaussian", 1.0)
