"""A user's own text or tokens: documents from a file, cut into windows that a model can read.

`.txt` is one document; `.jsonl` has one a line, {"text": …} or {"tokens": [id, …]}; a folder has one in every `.txt`;
`.npy` and `.npz` (array `tokens`) hold ids, [pos] for one document or [document, pos] for several.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int
from torch import Tensor

from .batch import tensors_sha256
from .errors import TaskError
from .npz import read_npz
from .recipe import Recipe, file_sha256

Encode = Callable[[str], list[int]]
"""A tokenizer: text in, ids out, without BOS."""
Document = Int[np.ndarray, "_"]
TOKEN_FILES = (".npy", ".npz")


def read_documents(path: str | Path, encode: Encode | None = None) -> list[Document]:
    """The documents of a file or folder as token ids, without BOS.

    encode:  the tokenizer, needed where the file holds text

    Raises TaskError for what cannot be read, for empty documents, and for text without a tokenizer.
    """
    path = Path(path)
    if path.suffix in TOKEN_FILES:
        found = _arrays(path)
    elif path.suffix == ".jsonl":
        found = [_line(path, number, line, encode) for number, line in enumerate(_read(path).splitlines(), 1) if line]
    else:
        files = sorted(path.glob("*.txt")) if path.is_dir() else [path]
        found = [_encoded(file.name, _read(file), encode) for file in files]
    if not found:
        raise TaskError(f"{path}: holds no document; expected text, or token ids in .npy, .npz or .jsonl")
    for number, document in enumerate(found):
        if not len(document):
            raise TaskError(f"{path}: document {number} is empty; expected at least one token")
    return found


def documents_sha256(path: str | Path) -> str:
    """Digest of a file of documents, or of all text files in a folder by their names."""
    path = Path(path)
    if not path.is_dir():
        return file_sha256(path)
    parts = (f"{file.name} {file_sha256(file)}\n" for file in sorted(path.glob("*.txt")))
    return hashlib.sha256("".join(parts).encode()).hexdigest()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise TaskError(f"{path}: cannot be read ({error.strerror})") from error
    except UnicodeDecodeError as error:
        raise TaskError(f"{path}: is not text in UTF-8 (byte {error.start}); expected text, or ids in .npy") from error


def _encoded(name: str, text: str, encode: Encode | None) -> Document:
    if encode is None:
        raise TaskError(f"{name}: text, but the model has no tokenizer; give token ids in .npy, .npz or .jsonl")
    if not text.strip():
        raise TaskError(f"{name}: holds no text")
    return np.array(encode(text), dtype=np.int64)


def _line(path: Path, number: int, line: str, encode: Encode | None) -> Document:
    where = f"{path.name}, line {number}"
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise TaskError(f"{where}: not JSON ({error})") from error
    if isinstance(record, dict) and isinstance(record.get("text"), str):
        return _encoded(where, record["text"], encode)
    if isinstance(record, dict) and isinstance(record.get("tokens"), list):
        return _ids(where, record["tokens"])
    raise TaskError(f'{where}: expected {{"text": "…"}} or {{"tokens": [id, …]}}')


def _arrays(path: Path) -> list[Document]:
    if path.suffix == ".npz":
        arrays = read_npz(path, TaskError)
        if "tokens" not in arrays:
            raise TaskError(f"{path.name}: lacks the array 'tokens'; found {sorted(arrays)}")
        array = arrays["tokens"]
    else:
        try:
            array = np.load(path, allow_pickle=False)
        except Exception as error:  # numpy raises many kinds on damaged bytes
            raise TaskError(f"{path.name}: not a readable .npy of plain numbers ({error})") from error
    if array.ndim not in (1, 2):
        raise TaskError(f"{path.name}: tokens have shape {list(array.shape)}, expected [pos] or [document, pos]")
    return [_ids(path.name, row) for row in np.atleast_2d(array)]


def _ids(where: str, values: Any) -> Document:
    ids = np.asarray(values)
    if ids.dtype.kind not in "iu" and ids.size:
        raise TaskError(f"{where}: tokens are {ids.dtype}, expected whole numbers")
    return ids.astype(np.int64)


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of one length.

    document:  which document each window is of
    start:     which of the document's tokens is the first in it (BOS does not count)
    """

    tokens: Int[Tensor, "window pos"]
    document: Int[np.ndarray, " window"]
    start: Int[np.ndarray, " window"]


@dataclass(frozen=True, eq=False)
class Corpus:
    """Documents cut into windows, one after the other; a document's last window may be shorter.

    documents:  token ids, without BOS
    length:     tokens of a window, BOS included
    bos:        the token before every window; None: none
    """

    documents: tuple[Document, ...]
    length: int
    bos: int | None
    recipe: Recipe

    @property
    def n_tokens(self) -> int:
        """Tokens of all documents, without BOS."""
        return sum(map(len, self.documents))

    def batches(self, batch_size: int) -> Iterator[Windows]:
        """Every window once, `batch_size` of one length at a time: whole ones first, then the documents' ends."""
        own = self.length - (self.bos is not None)
        cuts = [
            (document, start, min(own, len(ids) - start))
            for document, ids in enumerate(self.documents)
            for start in range(0, len(ids), own)
            if len(ids) - start + (self.bos is not None) >= 2  # a single token has nothing to foresee
        ]
        for _, of_one_length in groupby(sorted(cuts, key=lambda cut: -cut[2]), key=lambda cut: cut[2]):
            same = list(of_one_length)
            for first in range(0, len(same), batch_size):
                yield self._windows(same[first : first + batch_size])

    def _windows(self, cuts: Sequence[tuple[int, int, int]]) -> Windows:
        rows = np.stack([self.documents[document][start : start + n] for document, start, n in cuts])
        if self.bos is not None:
            rows = np.concatenate([np.full((len(rows), 1), self.bos), rows], axis=1)
        document, start, _ = np.array(cuts).T
        return Windows(torch.from_numpy(rows), document, start)


def windows(
    documents: Sequence[Document],
    length: int,
    d_vocab: int,
    bos: int | None = None,
    limit: int | None = None,
    family: str = "documents",
    settings: Mapping[str, Any] | None = None,
) -> Corpus:
    """Cut documents into windows of `length` tokens.

    limit:             the first so many tokens of all documents together
    family, settings:  where the documents came from, for the record

    Raises TaskError for tokens outside the vocabulary and for documents too short to hold anything to foresee.
    """
    if length < 2:
        raise TaskError(f"windows of {length} tokens: expected at least 2")
    kept: list[Document] = []
    for number, document in enumerate(documents):
        outside = (document < 0) | (document >= d_vocab)
        if outside.any():
            raise TaskError(
                f"token {document[outside.argmax()]} at position {outside.argmax()} of document {number}: the"
                f" vocabulary is 0 to {d_vocab - 1}; was the text encoded by another tokenizer?"
            )
        left = None if limit is None else limit - sum(map(len, kept))
        if left is None or left > 0:
            kept.append(document[:left])
    if max(map(len, kept), default=0) + (bos is not None) < 2:
        raise TaskError("no document has two tokens: nothing follows anything; give longer text")
    ids = [torch.from_numpy(document) for document in kept]
    full = {**(settings or {}), "window": length, "bos": bos, "limit": limit}
    return Corpus(tuple(kept), length, bos, Recipe(family, full, None, len(kept), tensors_sha256(*ids)))
