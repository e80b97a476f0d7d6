"""Tokenizers of whole words, made from the list of words that a checkpoint of ours carries: data alone, no rules."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from ...data.errors import CheckpointRefused

MAX_WORD = 100  # characters


def read_words(text: Any, d_vocab: int) -> tuple[str, ...]:
    """The words by id, from JSON: one for every token, no two alike, none of blanks."""
    try:
        words = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointRefused(f"the metadata's words are not readable JSON ({error})") from error
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise CheckpointRefused("the metadata's words are not a list of words")
    if len(words) != d_vocab or len(set(words)) < d_vocab:
        raise CheckpointRefused(f"{len(words)} words, {len(set(words))} of them different; expected {d_vocab}")
    if odd := [word for word in words if not 0 < len(word) <= MAX_WORD or word.split() != [word]]:
        raise CheckpointRefused(f"word {odd[0]!r:.60}: expected 1 to {MAX_WORD} characters, none of them blank")
    return tuple(words)


@lru_cache(maxsize=8)
def word_level(words: Sequence[str], bos: int) -> Any:
    """A tokenizer of transformers that takes words and marks of punctuation as they stand.

    A text with a word that is none of `words` is refused, never guessed at. `bos` is a special token.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast  # takes a second to import

    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.decoder = decoders.WordPiece()  # pyright: ignore[reportAttributeAccessIssue] - no blank before a stop
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=words[bos])
