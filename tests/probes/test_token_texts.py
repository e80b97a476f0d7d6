"""Texts of tokens where they stand: joined, they are the text."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from mesascope.models import load
from mesascope.models.language_model import LanguageModel
from mesascope.probes.token_texts import token_texts


def with_tokenizer(decode: Any) -> LanguageModel:
    subject = load("induction-2layer")
    assert isinstance(subject, LanguageModel)
    subject.tokenizer = SimpleNamespace(decode=lambda ids, skip_special_tokens: decode(ids))
    return subject


def test_words_of_the_grammar_and_ids_without_a_tokenizer() -> None:
    grammar = load("tiny-grammar")
    ids = [grammar.bos, *grammar.encode("the duck sees Ben.")]
    assert token_texts(grammar, ids) == ["<s>", " the", " duck", " sees", " Ben", " ."]
    assert token_texts(load("induction-2layer"), [17, 4]) == ["17", " 4"]


def test_blanks_belong_to_the_token_that_brings_them() -> None:
    """Sentencepiece drops the blank of a text's first token: alone, every token would lose its own."""
    words = {1: "▁the", 2: "▁cat", 3: "s"}
    decode = lambda ids: "".join(words[i] for i in ids).replace("▁", " ").lstrip(" ")  # noqa: E731
    assert token_texts(with_tokenizer(decode), [1, 2, 3, 1]) == ["the", " cat", "s", " the"]


def test_a_character_of_several_tokens_is_that_of_the_last() -> None:
    parts = {1: b"a", 2: "é".encode()[:1], 3: "é".encode()[1:], 4: b"b"}
    decode = lambda ids: b"".join(parts[i] for i in ids).decode(errors="replace")  # noqa: E731
    assert token_texts(with_tokenizer(decode), [1, 2, 3, 4]) == ["a", "\ufffd", "é", "b"]


@pytest.mark.parametrize("ids", [[1, 2], [2, 1, 2]])
def test_a_text_that_later_tokens_change_is_taken_token_by_token(ids: list[int]) -> None:
    decode = lambda found: {1: "a", 2: "b"}[found[0]] if len(found) == 1 else str(found)  # noqa: E731
    assert token_texts(with_tokenizer(decode), ids) == [{1: "a", 2: "b"}[token] for token in ids]
