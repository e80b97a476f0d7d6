"""Tokenizers that come with a model: their digest, their vocabulary, and the token that begins sequences."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any

from ..data.errors import TaskError, UsageError


def knows_words(tokenizer: Any) -> bool:
    """Whether the vocabulary has tokens that are not special. Without tokenizer files, some libraries make a tokenizer
    that gives no token, or always the same one.
    """
    if not (hasattr(tokenizer, "get_vocab") and hasattr(tokenizer, "encode")):
        raise UsageError(
            f"the tokenizer is a {type(tokenizer).__name__}; expected a tokenizer of transformers or tokenizers"
        )
    return bool(set(tokenizer.get_vocab()) - set(getattr(tokenizer, "all_special_tokens", ())))


def ids_of(tokenizer: Any, text: str) -> list[int]:
    """A text's token ids, without special tokens. Raises TaskError for text that the tokenizer cannot encode."""
    # transformers warns of documents longer than a context; they are cut into windows
    quiet = {"verbose": False} if hasattr(tokenizer, "special_tokens_map") else {}
    try:
        encoded = tokenizer.encode(text, add_special_tokens=False, **quiet)
    except Exception as error:  # that is all tokenizers raises
        raise _no_token(text, error) from error
    return list(getattr(encoded, "ids", encoded))


def pieces_of(tokenizer: Any, text: str) -> list[tuple[int, int, int]]:
    """A text's token ids, without special tokens, each with its first character and the one after its last.

    Raises TaskError for text that the tokenizer cannot encode, and for one that does not tell where tokens stand.
    """
    quick = {"return_offsets_mapping": True, "verbose": False} if hasattr(tokenizer, "special_tokens_map") else {}
    if quick and not getattr(tokenizer, "is_fast", False):
        raise TaskError(
            f"the tokenizer is a {type(tokenizer).__name__}, which does not tell where its tokens stand; expected a"
            " fast tokenizer (one with a tokenizer.json)"
        )
    try:
        encoded = (tokenizer if quick else tokenizer.encode)(text, add_special_tokens=False, **quick)
    except Exception as error:  # that is all tokenizers raises
        raise _no_token(text, error) from error
    ids, places = (encoded["input_ids"], encoded["offset_mapping"]) if quick else (encoded.ids, encoded.offsets)
    return [(token, *place) for token, place in zip(ids, places, strict=True)]


def _no_token(text: str, error: Exception) -> TaskError:
    return TaskError(f"{text!r:.60}: the tokenizer has no token for a part of this text ({error!s:.80})")


def text_of(tokenizer: Any, ids: Sequence[int]) -> str:
    """The text of token ids, special tokens and blanks as they are."""
    as_is = {"clean_up_tokenization_spaces": False} if hasattr(tokenizer, "special_tokens_map") else {}
    return str(tokenizer.decode(list(ids), skip_special_tokens=False, **as_is))


def begins_with(tokenizer: Any | None, config: Any, d_vocab: int) -> int | None:
    """The token that begins sequences; None: no token.

    The tokenizer's BOS or CLS token if the tokenizer has such attributes. Otherwise that of the configuration, unless
    it lies outside the vocabulary, as the defaults of small models do.
    """
    if tokenizer is not None and hasattr(tokenizer, "bos_token_id"):
        candidates = (tokenizer.bos_token_id, getattr(tokenizer, "cls_token_id", None))
    else:
        bos = getattr(config, "bos_token_id", None)
        candidates = tuple(bos) if isinstance(bos, list) else (bos,)
    return next((token for token in candidates if token is not None and 0 <= token < d_vocab), None)


def digest_of(tokenizer: Any) -> str:
    """SHA-256 of a tokenizer in memory: its rules and vocabulary, without the last padding and truncation."""
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if hasattr(backend, "to_str"):
        rules = json.loads(backend.to_str())
        rules |= dict.fromkeys(("padding", "truncation"))
    else:
        rules = [type(tokenizer).__name__, tokenizer.get_vocab(), list(getattr(tokenizer, "all_special_tokens", ()))]
    return digest_of_parts([("in memory", json.dumps(rules, sort_keys=True).encode())])


def digest_of_parts(parts: Iterable[tuple[str, bytes]]) -> str:
    """SHA-256 over named parts."""
    digest = hashlib.sha256()
    for name, content in parts:
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()
