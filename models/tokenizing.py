"""Tokenizers that come with a model: what identifies one, whether it knows any word, what sequences begin with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from typing import Any

from ..data.errors import TaskError, UsageError


def knows_words(tokenizer: Any) -> bool:
    """Whether there is any token but special ones. From a directory without a tokenizer's files, some libraries make
    one that gives no token, or one and the same, for every text.
    """
    if not (hasattr(tokenizer, "get_vocab") and hasattr(tokenizer, "encode")):
        raise UsageError(f"a {type(tokenizer).__name__}, expected a tokenizer of transformers or of tokenizers")
    return bool(set(tokenizer.get_vocab()) - set(getattr(tokenizer, "all_special_tokens", ())))


def ids_of(tokenizer: Any, text: str) -> list[int]:
    """A text's token ids, with none put before or after them. TaskError for what the tokenizer has no token for."""
    # transformers warns of documents longer than a context; they are cut into windows
    quiet = {"verbose": False} if hasattr(tokenizer, "special_tokens_map") else {}
    try:
        encoded = tokenizer.encode(text, add_special_tokens=False, **quiet)
    except Exception as error:  # that is all tokenizers raises
        raise TaskError(f"{text!r:.60}: the tokenizer knows no token for a part of it ({error!s:.80})") from error
    return list(getattr(encoded, "ids", encoded))


def begins_with(tokenizer: Any | None, config: Any, d_vocab: int) -> int | None:
    """The token that sequences begin with, None where there is none.

    The tokenizer's, where it says so: it knows what its sequences began with. Otherwise that of the configuration,
    unless it lies outside the vocabulary, as the defaults of small models do.
    """
    if tokenizer is not None and hasattr(tokenizer, "bos_token_id"):
        said = (tokenizer.bos_token_id, getattr(tokenizer, "cls_token_id", None))
    else:
        bos = getattr(config, "bos_token_id", None)
        said = tuple(bos) if isinstance(bos, list) else (bos,)
    return next((token for token in said if token is not None and 0 <= token < d_vocab), None)


def digest_of(tokenizer: Any) -> str:
    """SHA-256 of a tokenizer in memory: of its rules and vocabulary, not of how texts were last padded or cut."""
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
