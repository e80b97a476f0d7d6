"""Training language models: the next token's loss, the same optimiser, and the same bytes whatever comes between."""

from __future__ import annotations

import math
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import pytest
import torch
from mesascope.analyses import LanguageRecipe
from mesascope.analyses.training import training
from mesascope.analyses.training.objectives import initial, objective, unflatten
from mesascope.analyses.training.recipes import RECIPES
from mesascope.analyses.training.training import step, train
from mesascope.analyses.training.training_run import TrainingRun
from mesascope.data import CheckpointRefused, Grammar, LabelMapping, RepeatedSegments, TaskError, UsageError
from mesascope.models import AttentionOnlyModel, AttentionOnlyTransformer, load_all
from mesascope.models.opening.catalogue import read_header, shipped
from torch import nn

TINY = LanguageRecipe(
    name="tiny",
    summary="a few steps on short sequences",
    model={"n_layers": 2, "d_model": 8, "n_heads": 2, "d_head": 4, "d_mlp": 12},
    tasks={"family": "repeated-segments", "n_words": 12, "length": 12, "longest": 5},
    checkpoint_steps=(0, 4, 12),
    seeds=(0, 7),
    batch_size=4,
)
SPEAKING = replace(TINY, tasks={"family": "grammar", "length": 16})
MAPPING = replace(TINY, tasks={"family": "label-mapping", "n_members": 3, "n_pairs": 5})


class Interrupted(Exception):
    pass


def opened(path: Path, revision: str | None = None) -> list[AttentionOnlyModel]:
    return [subject for subject in load_all(path, revision) if isinstance(subject, AttentionOnlyModel)]


def test_the_file_says_how_it_was_made_and_what_its_tokens_are(tmp_path: Path) -> None:
    path = train(SPEAKING, tmp_path / "tiny.safetensors")
    header = read_header(path)
    assert [(member.seed, member.step) for member in header.members] == [(s, t) for s in (0, 7) for t in (0, 4, 12)]
    assert header.record["recipe"] == SPEAKING.as_dict()
    assert header.record["recipe"]["tasks"] == {"family": "grammar", **asdict(Grammar(length=16))}
    assert set(header.record) == {"recipe", "made_with", "training_loss"}
    assert [len(losses) for losses in header.record["training_loss"].values()] == [3, 3]
    grammar = Grammar(length=16)
    model = opened(path)[0]
    assert (model.shape.d_vocab, model.shape.n_ctx, model.bos) == (grammar.d_vocab, 16, grammar.bos)
    tokens = grammar.documents(1, seed=0).tokens[0]
    assert model.encode(grammar.text(tokens)) == tokens[1:].tolist()


def test_words_without_a_text_have_a_beginning_only(tmp_path: Path) -> None:
    model = opened(train(TINY, tmp_path / "tiny.safetensors"))[0]
    assert (model.bos, model.tokenizer) == (12, None)


def test_the_same_recipe_writes_the_same_bytes_on_any_number_of_threads(tmp_path: Path) -> None:
    recipe = replace(RECIPES["induction-2layer"], checkpoint_steps=(0, 2))
    before, files = torch.get_num_threads(), []
    try:
        for threads in (1, 2):
            torch.set_num_threads(threads)
            files.append(train(recipe, tmp_path / f"{threads}").read_bytes())
            assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(before)
    assert files[0] == files[1]
    assert train(replace(recipe, learning_rate=2e-3), tmp_path / "other").read_bytes() != files[0]


@pytest.mark.parametrize("at", [3, 7, 12])
def test_a_broken_off_training_ends_in_the_same_bytes(at: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(training, "SAVE_EVERY", 5)
    monkeypatch.setattr(training, "REPORT_EVERY", 1)

    def stop(stage: str, fraction: float) -> None:
        if fraction * TINY.steps >= at:
            raise Interrupted

    expected = train(TINY, tmp_path / "through").read_bytes()
    with pytest.raises(Interrupted):
        train(TINY, tmp_path / "broken", progress=stop)
    assert not (tmp_path / "broken").exists()
    assert train(TINY, tmp_path / "broken").read_bytes() == expected


def test_training_is_adam_on_the_cross_entropy_of_the_next_token() -> None:
    """Beside torch's own optimiser and clip on a plain loop over positions."""
    # rotary: otherwise the gradient of b_K is zero, and Adam makes full steps of its rounding errors
    tiny = replace(TINY, model={**TINY.model, "positions": "rotary"})
    run = TrainingRun.start(tiny)
    for i, seed in enumerate(tiny.seeds):
        module = AttentionOnlyTransformer(tiny.config, initial(tiny, seed)).requires_grad_()
        adam = torch.optim.Adam(module.parameters(), 3e-3, (0.9, 0.98), 1e-8)
        of_one = replace(tiny, seeds=(seed,))
        alone = TrainingRun.start(of_one)
        minimised = objective(of_one, alone.weights)
        for number in range(4):
            tokens = RepeatedSegments(n_words=12, length=12, longest=5).draw(4, seed, number)
            logits = module(tokens)
            surprise = [
                -logits[row, place].log_softmax(dim=0)[tokens[row, place + 1]]
                for row in range(4)
                for place in range(11)
            ]
            loss = sum(surprise, torch.zeros(())) / len(surprise)
            adam.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(module.parameters(), 1.0)
            adam.step()
            step(of_one, alone, minimised)
        for name, weight in unflatten(tiny.config, alone.weights).items():
            torch.testing.assert_close(weight[0], module.get_parameter(name).detach(), rtol=1e-3, atol=1e-5)
        if i == 0:
            for _ in range(4):
                step(tiny, run, objective(tiny, run.weights))
        torch.testing.assert_close(run.weights[i], alone.weights[0], rtol=0, atol=0)  # beside others or alone


def test_a_family_with_targets_is_asked_for_them_alone() -> None:
    """Labels, by a plain loop: what is said of the inputs between them does not count."""
    weights = TrainingRun.start(MAPPING).weights
    losses, gradient = objective(MAPPING, weights)(3)
    for i, seed in enumerate(MAPPING.seeds):
        module = AttentionOnlyTransformer(MAPPING.config, initial(MAPPING, seed)).requires_grad_()
        tokens = LabelMapping(n_members=3, n_pairs=5).draw(4, seed, 3)
        logits = module(tokens)
        surprise = [
            -logits[row, place].log_softmax(dim=0)[tokens[row, place + 1]]
            for row in range(4)
            for place in (1, 3, 5, 7, 9)
        ]
        loss = torch.stack(surprise).mean()
        loss.backward()
        torch.testing.assert_close(losses[i], loss.detach())
        for name, of_seed in unflatten(MAPPING.config, gradient).items():
            torch.testing.assert_close(of_seed[i], module.get_parameter(name).grad, rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("recipe", [TINY, SPEAKING], ids=["segments", "grammar"])
def test_a_family_without_targets_is_asked_for_every_token(recipe: LanguageRecipe) -> None:
    """To the last bit: what ships was trained so."""
    of_one = replace(recipe, seeds=(7,))
    losses, gradient = objective(of_one, TrainingRun.start(of_one).weights)(2)
    module = AttentionOnlyTransformer(of_one.config, initial(of_one, 7)).requires_grad_()
    tokens = of_one.family.draw(4, 7, 2)
    loss = nn.functional.cross_entropy(module(tokens)[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
    loss.backward()
    assert torch.equal(losses[0], loss.detach())
    for name, of_seed in unflatten(of_one.config, gradient).items():
        assert torch.equal(of_seed[0], module.get_parameter(name).grad)


def test_the_loss_at_a_checkpoint_is_of_what_it_had_not_seen(tmp_path: Path) -> None:
    path = train(TINY, tmp_path / "tiny")
    for model in opened(path, "step4"):
        seed = model.source.seed
        assert seed is not None
        tokens = TINY.family.draw(4, seed, 4)
        loss = nn.functional.cross_entropy(model.logits(tokens)[:, :-1].flatten(0, 1), tokens[:, 1:].flatten())
        assert model.source.record["training_loss"][f"seed{seed}"][1] == pytest.approx(float(loss), rel=1e-5)


def test_initial_weights_have_the_recipes_scale() -> None:
    recipe = replace(RECIPES["tiny-grammar"], init_scale=0.3)
    named = initial(recipe, 0)
    assert {name: tuple(weight.shape) for name, weight in named.items()} == recipe.config.shapes
    for name, weight in named.items():
        if name.endswith("_scale"):
            assert (weight == 1).all()
        elif name.startswith("b_") or name.endswith("_offset"):
            assert (weight == 0).all()
        else:
            assert float(weight.std()) == pytest.approx(0.3, rel=0.05)
    assert not torch.equal(initial(recipe, 1)["W_E"], named["W_E"])


@pytest.mark.parametrize(
    ("name", "start", "end"),
    [
        ("induction-2layer", 5.1, 4.95),
        ("induction-1layer", 5.1, 4.95),
        ("tiny-grammar", 5.8, 4.2),
        ("icl-mapping", 4.3, 2.5),
        ("iwl-mapping", 4.3, 0.3),
        ("noise-mapping", 4.3, 2.5),
    ],
)
def test_the_loss_falls(name: str, start: float, end: float, tmp_path: Path) -> None:
    """A short version of each training: from no knowledge to the words' frequencies at least."""
    recipe = replace(RECIPES[name], checkpoint_steps=(0, 40), batch_size=8, learning_rate=3e-3)
    first, last = read_header(train(recipe, tmp_path / name)).record["training_loss"]["seed0"]
    assert first > start
    assert last < end


@pytest.mark.parametrize(
    ("labels", "least", "most"), [("in-weights", 0.0, 0.02), ("random", math.log(2), 2.0), ("in-context", 0.7, 2.0)]
)
def test_only_labels_that_stay_the_same_are_learned_at_once(
    labels: str, least: float, most: float, tmp_path: Path
) -> None:
    """The others are known to be one of two from the second on, and no more than that after so few steps."""
    recipe = LanguageRecipe(
        name="small",
        summary="one layer, four classes of three inputs",
        model={"n_layers": 1, "d_model": 16, "n_heads": 2, "d_head": 8, "positions": "rotary"},
        tasks={
            "family": "label-mapping",
            "labels": labels,
            "n_classes": 4,
            "n_members": 3,
            "n_labels": 6,
            "n_pairs": 6,
        },
        checkpoint_steps=(0, 100),
        batch_size=16,
        learning_rate=1e-2,
    )
    first, last = read_header(train(recipe, tmp_path / "small")).record["training_loss"]["seed0"]
    assert first > math.log(13) - 0.1  # of the 13 tokens that there are
    assert least < last < most


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"tasks": {"family": "gramar"}}, UsageError, r"family 'gramar' is not known.*did you mean grammar"),
        ({"tasks": {}}, UsageError, "family None is not known"),
        ({"tasks": {"family": "grammar", "length": 1}}, TaskError, "length = 1"),
        ({"tasks": {"family": "label-mapping", "n_pairs": 20}}, TaskError, "n_pairs = 20"),
        ({"tasks": {"family": "grammar", "lenght": 16}}, UsageError, r"tasks: 'lenght'.*did you mean length"),
        ({"model": {"n_layers": 2}}, CheckpointRefused, "d_model is missing"),
    ],
)
def test_a_recipe_that_cannot_be_trained_is_refused(
    changes: dict[str, Any], error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        _ = replace(TINY, **changes).config


def test_the_gradient_is_that_of_each_seeds_own_loss() -> None:
    weights = TrainingRun.start(TINY).weights
    losses, gradient = objective(TINY, weights)(0)
    alone, of_one = objective(replace(TINY, seeds=(7,)), weights[1:])(0)
    assert torch.equal(alone[0], losses[1])
    assert torch.equal(of_one[0], gradient[1])
    assert not weights.requires_grad
    smaller, _ = objective(TINY, weights - 0.01 * gradient)(0)
    assert (smaller < losses).all()


@pytest.mark.slow
@pytest.mark.parametrize("name", ["induction-2layer", "induction-1layer", "tiny-grammar", "icl-mapping"])
def test_what_ships_can_be_made_again(name: str, tmp_path: Path) -> None:
    """The same bytes where the record's machine is, and the same end anywhere."""
    ships = shipped()[name]
    theirs = read_header(ships).record
    recipe = replace(RECIPES[name], checkpoint_steps=tuple(theirs["recipe"]["checkpoint_steps"]))
    path = train(recipe, tmp_path / name)
    ours = read_header(path).record
    if ours["made_with"] == theirs["made_with"] and path.read_bytes() == ships.read_bytes():
        return
    assert ours["training_loss"]["seed0"][-1] == pytest.approx(theirs["training_loss"]["seed0"][-1], rel=0.03)
