"""Scores of induction heads and their neighbours: planted patterns, loops, and q and k beside the pattern."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data import TaskError
from mesascope.models import AttentionScores, attention
from mesascope.probes.induction_heads import scores
from torch import Tensor

PERIOD = 5
FORMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "soft cap": {"soft_cap": 1.5},
    "window": {"window": 6},
    "both": {"soft_cap": 0.7, "window": 8},
}
each_form = pytest.mark.parametrize("form", FORMS.values(), ids=FORMS)
with_and_without_bos = pytest.mark.parametrize("bos", [0, 1])


def repeated(repeats: int = 2, bos: int = 1) -> Tensor:
    """Two sequences of different tokens, repeated."""
    rng = torch.Generator().manual_seed(4)
    runs = torch.stack([torch.randperm(20, generator=rng)[:PERIOD] + 1 for _ in range(2)]).repeat(1, repeats)
    return torch.cat([torch.zeros(2, bos, dtype=runs.dtype), runs], dim=1)


def planted(target: Callable[[int], int], n: int) -> Tensor:
    """A head whose query i attends to key target(i) alone, and where it sees no such key to none."""
    pattern = torch.zeros(1, 1, n, n)
    for i in range(n):
        if 0 <= target(i) <= i:
            pattern[0, 0, i, target(i)] = 1
    return pattern


def draw(n: int, heads: int = 4, kv_heads: int = 2, **form: Any) -> AttentionScores:
    rng = torch.Generator().manual_seed(1)
    q, k = (torch.randn(2, h, n, 3, generator=rng, dtype=torch.float64) for h in (heads, kv_heads))
    return AttentionScores.of(q, k, 0.9, **form)


# ---- found, and not found one place away ----


@with_and_without_bos
@pytest.mark.parametrize("shift", [-1, 0, 1])
def test_a_perfect_head_scores_1_and_the_same_head_one_place_away_0(bos: int, shift: int) -> None:
    n = bos + 2 * PERIOD
    heads = {
        "induction": planted(lambda i: i - PERIOD + 1 + shift, n),
        "duplicate": planted(lambda i: i - PERIOD + shift, n),
        "previous": planted(lambda i: i - 1 + shift, n),
        "current": planted(lambda i: i + shift, n),
    }
    hit = float(shift == 0)
    assert scores.prefix_matching_score(heads["induction"], PERIOD).item() == hit
    assert scores.duplicate_token_score(heads["duplicate"], PERIOD).item() == hit
    assert scores.previous_token_score(heads["previous"]).item() == hit
    assert scores.current_token_score(heads["current"]).item() == hit


def test_the_first_token_is_key_0() -> None:
    assert scores.first_token_score(planted(lambda i: 0, 11)).item() == 1
    assert scores.first_token_score(planted(lambda i: 1, 11)).item() == 0


@with_and_without_bos
def test_matches_of_every_earlier_repeat_count(bos: int) -> None:
    """A head may look at any earlier occurrence; what it pays to all of them is summed."""
    n = bos + 4 * PERIOD
    for repeat in (1, 2, 3):
        nth = planted(lambda i, r=repeat: i - min(r, (i - bos) // PERIOD) * PERIOD + 1, n)
        assert scores.prefix_matching_score(nth, PERIOD).item() == 1
    two = (planted(lambda i: i - PERIOD + 1, n) + planted(lambda i: i - 2 * PERIOD + 1, n)) / 2
    in_the_second_repeat = 0.5 * PERIOD  # there is no occurrence two periods back yet
    assert scores.prefix_matching_score(two, PERIOD).item() == pytest.approx(
        (in_the_second_repeat + 2 * PERIOD) / (3 * PERIOD)
    )


@with_and_without_bos
@pytest.mark.parametrize("repeats", [2, 3])
@pytest.mark.parametrize("after", [0, 1])
def test_on_repeats_matches_are_those_of_identity(bos: int, repeats: int, after: int) -> None:
    tokens = repeated(repeats, bos)
    one = draw(tokens.shape[1])
    expected = (scores.duplicate_token_score, scores.prefix_matching_score)[after](one, PERIOD)
    torch.testing.assert_close(scores.matching_attention(one, tokens, after).score, expected, rtol=1e-12, atol=1e-12)


# ---- loops ----


def test_the_stripe_by_loops() -> None:
    one = draw(2 * PERIOD + 1)
    pattern = one.pattern().numpy()
    expected = np.mean([pattern[:, :, i, i - PERIOD + 1] for i in range(PERIOD + 1, 2 * PERIOD + 1)], axis=0)
    np.testing.assert_allclose(scores.prefix_matching_score(one, PERIOD), expected, rtol=1e-12)


def test_query_0_has_no_choice_and_does_not_count() -> None:
    one = draw(7)
    pattern = one.pattern().numpy()
    for score, key in (
        (scores.previous_token_score, lambda i: i - 1),
        (scores.current_token_score, lambda i: i),
        (scores.first_token_score, lambda i: 0),
    ):
        expected = np.mean([pattern[:, :, i, key(i)] for i in range(1, 7)], axis=0)
        np.testing.assert_allclose(score(one), expected, rtol=1e-12)


@pytest.mark.parametrize("first", [0, 1, 6, 10])
def test_attention_by_offset_by_loops(first: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "_BLOCK", 4)
    one = draw(11)
    pattern = one.pattern().numpy()
    for given in (one, one.pattern()):
        found = scores.attention_by_offset(given, first).numpy()
        for offset in range(11):
            values = [pattern[:, :, i, i - offset] for i in range(max(first, offset), 11)]
            np.testing.assert_allclose(found[..., offset], np.mean(values, axis=0), rtol=1e-12)


TEXT = torch.tensor([[0, 3, 3, 5, 3, 1, 5, 3, 2, 0, 3], [4, 1, 2, 1, 2, 1, 2, 4, 1, 2, 2]])


@pytest.mark.parametrize("after", [0, 1])
@pytest.mark.parametrize("form", ["scores", "pattern"])
def test_matches_in_text_by_loops(after: int, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "_BLOCK", 4)
    one = draw(11)
    found = scores.matching_attention(one if form == "scores" else one.pattern(), TEXT, after)
    pattern = one.pattern().numpy()
    for b, x in enumerate(TEXT.tolist()):
        matched = {(i, e + after) for i in range(11) for e in range(i) if x[e] == x[i]}
        for i in range(11):
            keys = [j for j in range(11) if (i, j) in matched]
            assert found.matches[b, i] == len(keys)
            expected = pattern[b, :, i, keys].sum(0)
            np.testing.assert_allclose(found.attention[b, :, i], expected, rtol=1e-12, atol=1e-15)
            control = np.zeros(4)
            for o in (i - j for j in keys):
                free = [e for e in range(o + 1, 11) if (e, e - o) not in matched]
                control += np.mean([pattern[b, :, e, e - o] for e in free], axis=0) if free else np.nan
            np.testing.assert_allclose(found.control[b, :, i], control, rtol=1e-12, atol=1e-15)


def test_a_head_at_a_fixed_offset_has_no_excess() -> None:
    """It matches wherever the text repeats at that distance, and pays as much where it does not."""
    text = torch.tensor([[0, 7, 8, 9, 7, 8, 1, 2, 3, 4, 5, 6, 7, 3]])
    fixed = planted(lambda i: i - 2, 14)
    found = scores.matching_attention(fixed, text)
    assert found.score.item() > 0
    assert found.excess.item() == pytest.approx(0, abs=1e-15)
    matching = planted(lambda i: i - 2 if int(text[0, i]) == 8 else 0, 14)
    assert scores.matching_attention(matching, text).excess.item() > 0


def test_text_without_a_match_has_no_score() -> None:
    found = scores.matching_attention(draw(6), torch.arange(6).repeat(2, 1))
    assert found.score.isnan().all()
    assert found.excess.isnan().all()


# ---- unmoved ----

ALL: dict[str, Callable[[scores.Attention], Tensor]] = {
    "prefix matching": lambda a: scores.prefix_matching_score(a, PERIOD),
    "duplicate": lambda a: scores.duplicate_token_score(a, PERIOD),
    "previous": scores.previous_token_score,
    "current": scores.current_token_score,
    "first": scores.first_token_score,
    "by offset": scores.attention_by_offset,
    "matches": lambda a: scores.matching_attention(a, TEXT).excess,
}


@each_form
@pytest.mark.parametrize("score", ALL.values(), ids=ALL)
def test_no_pattern_is_needed(form: dict[str, Any], score: Callable[[scores.Attention], Tensor]) -> None:
    one = draw(11, **form)
    found = score(one)
    assert found.dtype == torch.float64
    torch.testing.assert_close(found, score(one.pattern()), rtol=1e-12, atol=1e-14, equal_nan=True)
    single = AttentionScores.of(one.q.float(), one.k.float(), 0.9, **form)
    torch.testing.assert_close(found, score(single), rtol=1e-4, atol=1e-6, equal_nan=True)


@pytest.mark.parametrize("score", ALL.values(), ids=ALL)
def test_sequences_and_heads_are_read_on_their_own(score: Callable[[scores.Attention], Tensor]) -> None:
    pattern = draw(11).pattern()
    torch.testing.assert_close(score(pattern[:, [2, 0]]), score(pattern)[:, [2, 0]], rtol=0, atol=1e-15)
    if score is not ALL["matches"]:  # reads the tokens of its batch
        torch.testing.assert_close(score(pattern[1:]), score(pattern)[1:], rtol=0, atol=1e-15)


# ---- refused ----


@pytest.mark.parametrize(("n", "period"), [(11, 4), (9, 5), (6, 5), (5, 5), (1, 5), (11, 1), (10, 0), (10, -5)])
def test_lengths_that_are_no_repeats(n: int, period: int) -> None:
    with pytest.raises(TaskError, match=f"period {period} and {n} tokens"):
        scores.prefix_matching_score(draw(n), period)


def test_one_token_has_no_scores() -> None:
    for score in (scores.previous_token_score, scores.current_token_score, scores.first_token_score):
        with pytest.raises(TaskError, match="1 token: expected at least two"):
            score(draw(1))
    with pytest.raises(TaskError, match="first query 4: expected 0 to 3"):
        scores.attention_by_offset(draw(4), first=4)


def test_tokens_of_another_length() -> None:
    with pytest.raises(TaskError, match=r"tokens \[2, 11\]: expected \[2, 10\]"):
        scores.matching_attention(draw(10), TEXT)
