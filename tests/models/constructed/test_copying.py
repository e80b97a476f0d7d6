"""Planted copy models do what they are said to do, and each half can be missing alone."""

from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from mesascope.data import CopyTask, UsageError
from mesascope.models import CopyTransformer, from_copy_transformer, plant_anti_attention, plant_copying
from torch import Tensor

N_WORDS, N_TOKENS = 10, 8


def sources(n_words: int = N_WORDS, n_tokens: int = N_TOKENS) -> Tensor:
    return CopyTask(n_words, n_tokens).sample(20, seed=0).tokens


def accuracies(module: CopyTransformer, tokens: Tensor) -> tuple[float, float, float]:
    """Of the task, of attention, and of words that heads translate."""
    subject, places = from_copy_transformer(module), torch.arange(tokens.shape[1])
    found = (
        subject.logits(tokens).argmax(dim=-1) == tokens,
        subject.pattern(tokens).mean(dim=1).argmax(dim=-1) == places,
        subject.read_out(tokens).mean(dim=1).argmax(dim=-1) == tokens,
    )
    return float(found[0].double().mean()), float(found[1].double().mean()), float(found[2].double().mean())


@pytest.mark.parametrize("n_heads", [1, 3])
@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, (1, 1, 1)),
        ({"attention": "wrong"}, (0, 0, 1)),
        ({"focus": -30.0}, (0, 0, 1)),
        ({"confidence": -30.0}, (0, 1, 0)),
    ],
)
def test_each_half_is_what_it_is_said_to_be(settings: dict[str, Any], expected: Any, n_heads: int) -> None:
    module = plant_copying(N_WORDS, N_TOKENS, n_heads=n_heads, **settings)
    assert accuracies(module, sources()) == expected


def test_words_without_attention() -> None:
    """All targets answer alike: every word of the source has the same logit, and no other has one."""
    module, tokens = plant_copying(N_WORDS, N_TOKENS, attention="uniform"), sources()
    subject = from_copy_transformer(module)
    torch.testing.assert_close(subject.pattern(tokens), torch.full((20, 1, 8, 8), 1 / 8, dtype=torch.float64))
    expected = torch.zeros(20, N_WORDS, dtype=torch.float64).scatter(1, tokens, 30.0 / 8)
    torch.testing.assert_close(subject.logits(tokens), expected[:, None].expand(-1, N_TOKENS, -1))
    assert accuracies(module, tokens)[2] == 1


def test_attention_without_words() -> None:
    module, tokens = plant_copying(N_WORDS, N_TOKENS, knows_words=False), sources()
    assert accuracies(module, tokens)[1] == 1
    assert (module(tokens) == 0).all()
    assert (from_copy_transformer(module).read_out(tokens) == 0).all()


def test_numbers_are_those_that_are_asked_for() -> None:
    """A score of `focus` against 0, and a logit of `confidence` times the attention to the word."""
    tokens = sources()
    subject = from_copy_transformer(plant_copying(N_WORDS, N_TOKENS, focus=2.0, confidence=5.0))
    own = math.exp(2) / (math.exp(2) + N_TOKENS - 1)
    pattern, logits = subject.pattern(tokens)[:, 0], subject.logits(tokens)
    torch.testing.assert_close(pattern.diagonal(dim1=1, dim2=2), torch.full((20, 8), own, dtype=torch.float64))
    right = logits.gather(2, tokens[..., None])
    torch.testing.assert_close(right, torch.full_like(right, 5 * own))


@pytest.mark.parametrize(("n_words", "n_heads"), [(3, 1), (10, 1), (40, 2)])
def test_permutations_are_copied_without_attention_and_words(n_words: int, n_heads: int) -> None:
    module = plant_anti_attention(n_words, n_heads)
    assert accuracies(module, sources(n_words, n_words)) == (1, 0, 0)


def test_anti_attention_finds_the_word_that_is_missing() -> None:
    """The word's own logit is 0 and all others are -confidence / (n_words - 1); of fewer words it copies none alone."""
    tokens = sources(6, 6)
    logits = plant_anti_attention(6)(tokens)
    expected = torch.full_like(logits, -6.0).scatter(2, tokens[..., None], 0.0)
    torch.testing.assert_close(logits, expected, atol=1e-8, rtol=1e-8)
    some = sources(6, 4)
    others = plant_anti_attention(6)(some).gather(2, torch.arange(6).expand(20, 4, 6))
    assert ((others > -1e-6).sum(dim=2) == 3).all()  # its own word, and two that the source does not hold


def test_two_words_leave_nothing_to_attend_to() -> None:
    with pytest.raises(UsageError, match="n_words = 2: of two places, all but the right one is a single place"):
        plant_anti_attention(2)
