"""Sources of the copy task: different words in random order, the same for the same seed, and no word is rarer."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mesascope.data import CopyTask, TaskError
from mesascope.data.batch import tensors_sha256


def test_a_source_holds_different_words() -> None:
    tokens = CopyTask(n_words=9, n_tokens=6).sample(200, seed=0).tokens
    assert tokens.shape == (200, 6)
    assert tokens.dtype == torch.int64
    assert all(len(set(source)) == 6 and set(source) <= set(range(9)) for source in tokens.tolist())


def test_every_source_of_permutations_holds_all_words() -> None:
    task = CopyTask(n_words=7, n_tokens=7)
    assert (task.sample(100, seed=0).tokens.sort(dim=1).values == torch.arange(7)).all()
    assert task.says_all
    assert not CopyTask(n_words=8, n_tokens=7).says_all


def test_words_and_places_are_equally_likely() -> None:
    """Each of 5 words at each of 3 places in a fifth of the sources; and ordered pairs alike, too."""
    tokens = CopyTask(n_words=5, n_tokens=3).sample(20_000, seed=0).tokens
    for place in range(3):
        shares = tokens[:, place].bincount(minlength=5) / len(tokens)
        assert float((shares - 1 / 5).abs().max()) < 0.015
    pairs = (5 * tokens[:, 0] + tokens[:, 1]).bincount(minlength=25).reshape(5, 5) / len(tokens)
    assert pairs.diagonal().sum() == 0
    assert float((pairs[~torch.eye(5, dtype=torch.bool)] - 1 / 20).abs().max()) < 0.008


def test_the_recipe_draws_them_again() -> None:
    batch = CopyTask(6, 4).sample(10, seed=3)
    again = CopyTask(**batch.recipe.settings).sample(batch.recipe.n, 3)
    assert torch.equal(again.tokens, batch.tokens)
    assert batch.recipe.sha256 == tensors_sha256(batch.tokens) == again.recipe.sha256
    assert (batch.recipe.family, batch.recipe.seed) == ("copying", 3)
    assert not torch.equal(CopyTask(6, 4).sample(10, seed=4).tokens, batch.tokens)


def test_every_step_of_a_training_has_its_own_sources() -> None:
    task = CopyTask(6, 4)
    drawn = task.draw(10, 0, 5)
    assert torch.equal(drawn, task.draw(10, 0, 5))
    others = (task.draw(10, 0, 6), task.draw(10, 1, 5), task.sample(10, 0).tokens)
    assert not any(torch.equal(drawn, other) for other in others)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"n_words": 4, "n_tokens": 5}, "n_tokens = 5 different words out of n_words = 4; expected at most 4"),
        ({"n_words": 1, "n_tokens": 1}, "n_words"),
    ],
)
def test_a_task_that_cannot_be_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(TaskError, match=message):
        CopyTask(**settings)


def test_no_sources_are_refused() -> None:
    with pytest.raises(TaskError, match="n = 0 sequences; expected at least 1"):
        CopyTask().sample(0, 0)


@pytest.mark.parametrize(
    ("tasks", "expected"),
    [
        ({"n_words": 8, "n_tokens": 5}, CopyTask(8, 5)),
        ({"n_words": 9, "n_tokens": 5}, CopyTask(9, 5)),
        ({"n_words": 10, "n_tokens": 5}, CopyTask(9, 6)),  # more words than the model has
        ({"n_words": 9, "n_tokens": 7}, CopyTask(9, 6)),  # more than it has places
        ({"n_words": "9", "n_tokens": 5}, CopyTask(9, 6)),
        ({"n_words": 9}, CopyTask(9, 6)),
        (None, CopyTask(9, 6)),
    ],
)
def test_the_task_of_a_training_is_found_if_it_fits(tasks: Any, expected: CopyTask) -> None:
    assert CopyTask.recorded({"recipe": {"tasks": tasks}}, d_vocab=9, n_ctx=6) == expected


def test_without_a_record_a_model_has_all_its_words_in_all_its_places() -> None:
    assert CopyTask.recorded({}, d_vocab=5, n_ctx=8) == CopyTask(5, 5)
    assert CopyTask.recorded({"recipe": "lost"}, d_vocab=8, n_ctx=5) == CopyTask(8, 5)
