"""Random runs said twice, and their controls."""

from __future__ import annotations

from itertools import pairwise

import pytest
import torch
from mesascope.data import RepeatedTokens, TaskError


@pytest.mark.parametrize("bos", [None, 0, 7, 29])
@pytest.mark.parametrize("repeats", [2, 3])
def test_a_run_is_said_again_and_again(bos: int | None, repeats: int) -> None:
    family = RepeatedTokens(period=8, d_vocab=30, repeats=repeats, bos=bos)
    tokens = family.draw(40, seed=1).tokens
    assert tokens.shape == (40, family.length)
    runs = tokens[:, family.first :].unflatten(1, (repeats, 8))
    assert (runs == runs[:, :1]).all()
    assert all(len(set(run.tolist())) == 8 for run in runs[:, 0])
    assert set(runs.flatten().tolist()) == set(range(30)) - {bos}
    if bos is not None:
        assert (tokens[:, 0] == bos).all()


@pytest.mark.parametrize(("d_vocab", "bos"), [(30, None), (25, 3), (24, None), (17, 3), (8, None)])
def test_the_control_begins_alike_and_says_nothing_again(d_vocab: int, bos: int | None) -> None:
    family = RepeatedTokens(period=8, d_vocab=d_vocab, repeats=3, bos=bos)
    repeated, control = family.draw(20, 5).tokens[:, family.first :], family.control(20, 5).tokens[:, family.first :]
    assert torch.equal(repeated[:, :8], control[:, :8])
    runs = control.unflatten(1, (3, 8))
    for row in runs:
        assert all(len(set(run.tolist())) == 8 for run in row)
        if family.d_vocab - (bos is not None) >= 24:
            assert len(set(row.flatten().tolist())) == 24
    for one, other in ((0, 1), (0, 2), (1, 2)):
        assert not (runs[:, one] == runs[:, other]).any()


@pytest.mark.parametrize("period", [2, 3, 8])
def test_a_shuffled_repeat_holds_the_same_tokens_and_keeps_no_pair(period: int) -> None:
    family = RepeatedTokens(period=period, d_vocab=30, repeats=3, bos=0)
    repeated, shuffled = family.draw(40, 5).tokens[:, 1:], family.shuffled(40, 5).tokens[:, 1:]
    assert torch.equal(repeated[:, :period], shuffled[:, :period])
    for row in shuffled.unflatten(1, (3, period)).tolist():
        first, *later = row
        pairs = set(pairwise(first))
        for repeat in later:
            assert sorted(repeat) == sorted(first)
            assert not pairs & set(pairwise(repeat))
    same = torch.equal(shuffled[:, period : 2 * period], shuffled[:, 2 * period :])
    assert same is (period == 2)  # two tokens have one other order


def test_a_single_token_has_no_other_order() -> None:
    with pytest.raises(TaskError, match="period = 1: a repeat of one token has no other order"):
        RepeatedTokens(period=1, d_vocab=9).shuffled(1, 0)


@pytest.mark.parametrize("bos", [None, 0])
def test_sequences_hold_the_ids_that_were_given(bos: int | None) -> None:
    family = RepeatedTokens(period=3, d_vocab=30, bos=bos, ids=(4, 7, 9, 28))
    for draw in (family.draw, family.control, family.shuffled):
        assert set(draw(20, 1).tokens[:, family.first :].flatten().tolist()) == {4, 7, 9, 28}
    assert family.draw(2, 1).recipe.settings["ids"] == (4, 7, 9, 28)
    assert "ids" not in RepeatedTokens(period=3, d_vocab=30).draw(2, 1).recipe.settings
    with pytest.raises(TaskError, match="period = 5, repeats = 2; expected at most 4 each, the ids to draw from"):
        RepeatedTokens(period=5, d_vocab=30, ids=(4, 7, 9, 28))


def test_the_first_sequences_do_not_depend_on_how_many_there_are() -> None:
    family = RepeatedTokens(period=5, d_vocab=12, bos=0)
    for draw in (family.draw, family.control, family.shuffled):
        assert torch.equal(draw(3, 9).tokens, draw(7, 9).tokens[:3])
        assert not torch.equal(draw(3, 9).tokens, draw(3, 10).tokens)


def test_the_recipe_makes_them_again() -> None:
    batch = RepeatedTokens(period=5, d_vocab=12, bos=0).draw(3, seed=9)
    settings, seed, n = batch.recipe.settings, batch.recipe.seed, batch.recipe.n
    assert seed is not None
    assert RepeatedTokens(**settings).draw(n, seed).recipe == batch.recipe
    assert RepeatedTokens(**settings).control(n, seed).recipe.family != batch.recipe.family


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"period": 9, "d_vocab": 9, "bos": 1}, "repeats = 2; expected at most 8 each"),
        ({"period": 2, "d_vocab": 2, "repeats": 3}, "repeats = 3; expected at most 2 each"),
        ({"period": 0, "d_vocab": 9}, "period = 0"),
        ({"period": 3, "d_vocab": 9, "repeats": 1}, "repeats = 1"),
    ],
)
def test_what_cannot_be_drawn_is_refused(settings: dict[str, int], words: str) -> None:
    with pytest.raises(TaskError, match=words):
        RepeatedTokens(**settings)
