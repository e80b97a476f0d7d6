"""Word-level tokenizers, made from the list of words in a checkpoint's metadata."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

from ...data.errors import CheckpointRefused

MAX_WORD = 100  # characters


def read_words(text: Any, d_vocab: int) -> tuple[str, ...]:
    """The words by id, from JSON: one for each token, all different, without blanks."""
    try:
        words = json.loads(text)
    except (TypeError, ValueError, RecursionError) as error:
        raise CheckpointRefused(
            f"the metadata's words are not readable JSON ({error}); expected a list of {d_vocab} words"
        ) from error
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise CheckpointRefused(f"the metadata's words are not a list of strings; expected {d_vocab} words")
    if len(words) != d_vocab or len(set(words)) < d_vocab:
        raise CheckpointRefused(
            f"{len(words)} words, {len(set(words))} of them different; expected {d_vocab} different words"
        )
    if invalid := [word for word in words if not 0 < len(word) <= MAX_WORD or word.split() != [word]]:
        raise CheckpointRefused(f"word {invalid[0]!r:.60}; expected 1 to {MAX_WORD} characters, none of them blank")
    return tuple(words)


@lru_cache(maxsize=8)
def word_level(words: Sequence[str], bos: int) -> Any:
    """A tokenizer of transformers with these words and punctuation marks. `bos` is a special token.

    It raises an exception for text with other words, since it has no token for unknown words.
    """
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import PreTrainedTokenizerFast  # takes a second to import

    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()  # pyright: ignore[reportAttributeAccessIssue]
    tokenizer.decoder = decoders.WordPiece()  # pyright: ignore[reportAttributeAccessIssue] - no blank before a stop
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, bos_token=words[bos])
