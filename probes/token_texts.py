"""Texts of token ids, as people read them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from itertools import pairwise

from ..data.grammar import Grammar
from ..models.language_model import LanguageModel
from ..models.tokenizing import text_of

_CUT = "\ufffd"
"""What tokenizers give for the first bytes of a character."""


def words_of(subject: LanguageModel) -> Callable[[Sequence[int]], str] | None:
    """What tells the text of token ids; None where nobody knows it."""
    grammar = Grammar.recorded(subject.source.record, subject.shape.d_vocab)
    if grammar is not None:
        return lambda ids: " ".join(grammar.words[token] for token in ids)
    return None if subject.tokenizer is None else partial(text_of, subject.tokenizer)


def token_texts(subject: LanguageModel, ids: Sequence[int]) -> list[str]:
    """The text of each token where it stands, blanks included: joined, they are the whole text. The ids where nobody
    knows it.
    """
    text = words_of(subject) or (lambda ids: " ".join(map(str, ids)))
    so_far = [text(ids[:n]) if n else "" for n in range(len(ids) + 1)]
    return [_added(*pair) or text([token]) for token, pair in zip(ids, pairwise(so_far), strict=True)]


def _added(before: str, after: str) -> str:
    """What one more token adds. A character of several tokens is that of the last; "" where nothing tells."""
    whole = before.rstrip(_CUT)
    return after[len(before if after.startswith(before) else whole) :] if after.startswith(whole) else ""
