"""A user's own text or tokens as documents of token ids: what a file holds, without BOS and padding."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from jaxtyping import Int

from .document_files import Entry, entries, members
from .errors import TaskError
from .recipe import file_sha256

Encode = Callable[[str], list[int]]
"""A tokenizer: text in, ids out, without BOS."""
Document = Int[np.ndarray, "_"]


@dataclass(frozen=True, eq=False)
class DocumentSet:
    """Documents with at least one token each, and what was left out on the way.

    empty:           documents without a token
    began_with_bos:  documents that began with the model's BOS, which every window gets anyway
    padding:         tokens that a mask or the pad id says are none
    """

    ids: tuple[Document, ...]
    empty: int = 0
    began_with_bos: int = 0
    padding: int = 0

    @property
    def facts(self) -> dict[str, int]:
        """For a recipe: how many there are, and whatever was left out."""
        left_out = {name: getattr(self, name) for name in ("empty", "began_with_bos", "padding")}
        return {"documents": len(self.ids)} | {name: number for name, number in left_out.items() if number}


def read_documents(
    path: str | Path,
    encode: Encode | None = None,
    asked: Literal["text", "tokens"] | None = None,
    bos: int | None = None,
    pad: int | None = None,
) -> DocumentSet:
    """The documents of a file or folder; `document_files` says which files are read.

    encode:  the tokenizer; needed for text only
    asked:   whether the user called it text or tokens; None: either
    bos:     left out where a document begins with it
    pad:     left out at both ends of a document

    Raises TaskError for files that cannot be read, for text without a tokenizer, and where no document has a token.
    """
    path = Path(path)
    found: list[Document] = []
    empty = began = padding = 0
    for entry in entries(path, asked):
        ids = _ids_of(entry, encode)
        kept = _without_padding(entry, ids, pad)
        padding += len(ids) - len(kept)
        if bos is not None and len(kept) and kept[0] == bos:
            kept, began = kept[1:], began + 1
        if len(kept):
            found.append(kept)
        else:
            empty += 1
    if not found:
        raise TaskError(
            f"{path}: no document has a token ({empty} empty); expected text, or token ids, in at least one"
        )
    return DocumentSet(tuple(found), empty, began, padding)


def documents_sha256(path: str | Path) -> str:
    """SHA-256 of a file of documents. For a folder: of the names and digests of the files that are read."""
    path = Path(path)
    if not path.is_dir():
        return file_sha256(path)
    lines = (f"{file.name} {file_sha256(file)}\n" for file in members(path))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _ids_of(entry: Entry, encode: Encode | None) -> Document:
    if entry.text is None:
        return _array(entry.where, "tokens", entry.ids)
    if not entry.text.strip():
        return np.empty(0, dtype=np.int64)
    if encode is None:
        raise TaskError(
            f"{entry.where}: holds text, but the model has no tokenizer; give token ids in .npy, .npz or .jsonl"
        )
    return np.array(encode(entry.text), dtype=np.int64)


def _without_padding(entry: Entry, ids: Document, pad: int | None) -> Document:
    if entry.mask is not None:
        mask = _array(entry.where, "attention_mask", entry.mask)
        if len(mask) != len(ids) or not np.isin(mask, (0, 1)).all():
            raise TaskError(
                f"{entry.where}: attention_mask has {len(mask)} entries, {sorted(set(mask.tolist()))[:4]} among them;"
                f" expected 0 or 1 for each of {len(ids)} tokens"
            )
        ids = ids[mask == 1]
    if pad is None or not len(ids):
        return ids
    own = np.flatnonzero(ids != pad)
    return ids[own[0] : own[-1] + 1] if len(own) else ids[:0]


def _array(where: str, name: str, values: Any) -> Document:
    try:
        array = np.asarray(values)
    except (ValueError, OverflowError) as error:  # lists of different lengths, or an integer beyond 64 bits
        raise TaskError(f"{where}: {name} are no array ({error}); expected a list of integers") from error
    if array.ndim != 1:
        raise TaskError(f"{where}: {name} are nested {array.ndim} deep; expected a list of integers")
    if array.dtype.kind not in "iu" and array.size:
        raise TaskError(f"{where}: {name} have dtype {array.dtype}; expected integers")
    return array.astype(np.int64)
