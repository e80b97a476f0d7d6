"""Tokenizers that come with a model: what identifies one, whether it knows any word, what sequences begin with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ..data.errors import CheckpointRefused, TaskError, UsageError
from .catalogue import refuse_crowded
from .shards import inside

VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
"""Files one of which a directory must hold for text to go in."""
BESIDE = ("merges.txt", "added_tokens.json", "special_tokens_map.json", "tokenizer_config.json")
"""What else a tokenizer is made from, where it is there."""
MAX_TOKENIZER = 64 * 2**20  # bytes of one of these; the largest known has 34 MB
MAX_PARTS = 3_000_000  # of its JSON; 260,000 words and 510,000 merges have 2,100,000


def open_tokenizer(folder: Path) -> Any | None:
    """A directory's own tokenizer, None where there is none. CheckpointRefused for one that cannot be read."""
    from transformers import AutoTokenizer  # seconds to import

    present = [folder / name for name in VOCABULARIES if (folder / name).exists()]
    for file in (*present, *(folder / name for name in BESIDE)):
        _refuse_unbounded(file)
    if not present:
        return None
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise CheckpointRefused(f"{present[0].name}: the tokenizer cannot be read ({reason})") from error
    if not knows_words(tokenizer):
        raise CheckpointRefused(f"{present[0].name}: a tokenizer without a single word; without it, token ids go in")
    return tokenizer


def _refuse_unbounded(file: Path) -> None:
    """Refuse a link out of the directory, and what would fill the memory."""
    if file.is_symlink():
        inside(file.parent, file.name)
    if not file.exists():
        return
    if not file.is_file():
        raise CheckpointRefused(f"{file.name}: not a regular file")
    if (size := file.stat().st_size) > MAX_TOKENIZER:
        raise CheckpointRefused(f"{file.name}: {size} bytes, expected at most {MAX_TOKENIZER}")
    try:
        refuse_crowded(file.read_bytes() if file.suffix == ".json" else b"", MAX_PARTS)
    except (OSError, ValueError) as error:
        raise CheckpointRefused(f"{file.name}: cannot be read ({error})") from error


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


def digest_of_files(folder: Path) -> str:
    """SHA-256 over the names and bytes of what a directory's tokenizer is made from."""
    present = [folder / name for name in (*VOCABULARIES, *BESIDE) if (folder / name).is_file()]
    return _sha256((path.name, path.read_bytes()) for path in present)


def digest_of(tokenizer: Any) -> str:
    """SHA-256 of a tokenizer in memory: of its rules and vocabulary, not of how texts were last padded or cut."""
    backend = getattr(tokenizer, "backend_tokenizer", tokenizer)
    if hasattr(backend, "to_str"):
        rules = json.loads(backend.to_str())
        rules |= dict.fromkeys(("padding", "truncation"))
    else:
        rules = [type(tokenizer).__name__, tokenizer.get_vocab(), list(getattr(tokenizer, "all_special_tokens", ()))]
    return _sha256([("in memory", json.dumps(rules, sort_keys=True).encode())])


def _sha256(parts: Iterable[tuple[str, bytes]]) -> str:
    digest = hashlib.sha256()
    for name, content in parts:
        digest.update(f"{name} {len(content)}\n".encode() + content)
    return digest.hexdigest()
