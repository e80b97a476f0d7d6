"""Tokenizers from the files of a directory: bounded reading, and the digest of their bytes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...data.errors import CheckpointRefused
from ..tokenizing import digest_of_parts, knows_words
from .catalogue import refuse_crowded
from .shards import inside

VOCABULARIES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model")
"""Vocabulary files. A directory without any of them has no tokenizer."""
FURTHER = ("merges.txt", "added_tokens.json", "special_tokens_map.json", "tokenizer_config.json")
"""Other files that a tokenizer is made from, if present."""
MAX_TOKENIZER = 64 * 2**20  # bytes of one of these; the largest known has 34 MB
MAX_ITEMS = 3_000_000  # of its JSON; 260,000 words and 510,000 merges have 2,100,000


def open_tokenizer(folder: Path) -> Any | None:
    """A directory's own tokenizer; None: it has none. Raises CheckpointRefused for one that cannot be read."""
    from transformers import AutoTokenizer  # seconds to import

    present = [folder / name for name in VOCABULARIES if (folder / name).exists()]
    for file in (*present, *(folder / name for name in FURTHER)):
        _refuse_unbounded(file)
    if not present:
        return None
    try:
        tokenizer = AutoTokenizer.from_pretrained(str(folder), local_files_only=True, trust_remote_code=False)
    except Exception as error:
        reason = " ".join(f"{type(error).__name__}: {error}".split())[:200]
        raise CheckpointRefused(
            f"{present[0].name}: the tokenizer cannot be read ({reason}); without the file, the model reads token ids"
        ) from error
    if not knows_words(tokenizer):
        raise CheckpointRefused(
            f"{present[0].name}: the tokenizer has special tokens only; without the file, the model reads token ids"
        )
    return tokenizer


def _refuse_unbounded(file: Path) -> None:
    """Raise CheckpointRefused for a link out of the directory, and for a file that would fill the memory."""
    if file.is_symlink():
        inside(file.parent, file.name)
    if not file.exists():
        return
    if not file.is_file():
        raise CheckpointRefused(f"{file.name}: not a regular file; expected a file of the tokenizer")
    if (size := file.stat().st_size) > MAX_TOKENIZER:
        raise CheckpointRefused(f"{file.name}: {size} bytes; expected at most {MAX_TOKENIZER}")
    try:
        refuse_crowded(file.read_bytes() if file.suffix == ".json" else b"", MAX_ITEMS)
    except (OSError, ValueError) as error:
        raise CheckpointRefused(f"{file.name}: cannot be read ({error})") from error


def digest_of_files(folder: Path) -> str:
    """SHA-256 of the names and bytes of a directory's tokenizer files."""
    present = [folder / name for name in (*VOCABULARIES, *FURTHER) if (folder / name).is_file()]
    return digest_of_parts((path.name, path.read_bytes()) for path in present)
