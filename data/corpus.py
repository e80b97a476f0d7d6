"""A user's own text or tokens: documents from a file, cut into windows that a model can read.

A `.txt` is one document. A `.jsonl` has one document per line, {"text": …} or {"tokens": [id, …]}. A folder has one in
each `.txt`. `.npy` and `.npz` (array `tokens`) hold token ids: [pos] for one document, [document, pos] for several.
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

    encode:  the tokenizer; needed for text only

    Raises TaskError for files that cannot be read, for empty documents, and for text without a tokenizer.
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
        raise TaskError(
            f"{path}: no documents; expected text (.txt, .jsonl or a folder of .txt) or token ids (.npy, .npz or"
            " .jsonl)"
        )
    for number, document in enumerate(found):
        if not len(document):
            raise TaskError(f"{path}: document {number} (counted from 0) has 0 tokens; expected at least 1")
    return found


def documents_sha256(path: str | Path) -> str:
    """SHA-256 of a file of documents. For a folder: of the names and digests of its `.txt` files."""
    path = Path(path)
    if not path.is_dir():
        return file_sha256(path)
    lines = (f"{file.name} {file_sha256(file)}\n" for file in sorted(path.glob("*.txt")))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as error:
        raise TaskError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except UnicodeDecodeError as error:
        raise TaskError(
            f"{path}: byte {error.start} is not UTF-8; expected UTF-8 text, or ids in .npy or .npz"
        ) from error


def _encoded(name: str, text: str, encode: Encode | None) -> Document:
    if encode is None:
        raise TaskError(f"{name}: holds text, but the model has no tokenizer; give token ids in .npy, .npz or .jsonl")
    if not text.strip():
        raise TaskError(f"{name}: empty or only white space; expected text")
    return np.array(encode(text), dtype=np.int64)


def _line(path: Path, number: int, line: str, encode: Encode | None) -> Document:
    where = f"{path.name}, line {number}"
    try:
        record = json.loads(line)
    except (ValueError, RecursionError) as error:
        raise TaskError(f"{where}: not JSON ({error}); expected one JSON object per line") from error
    if isinstance(record, dict) and isinstance(record.get("text"), str):
        return _encoded(where, record["text"], encode)
    if isinstance(record, dict) and isinstance(record.get("tokens"), list):
        return _ids(where, record["tokens"])
    raise TaskError(f'{where}: {line!r:.60} is neither {{"text": "…"}} nor {{"tokens": [id, …]}}; expected one of them')


def _arrays(path: Path) -> list[Document]:
    if path.suffix == ".npz":
        arrays = read_npz(path, TaskError)
        if "tokens" not in arrays:
            raise TaskError(
                f"{path.name}: no array 'tokens'; found {sorted(arrays)}; write it with np.savez(FILE, tokens=ids)"
            )
        array = arrays["tokens"]
    else:
        try:
            array = np.load(path, allow_pickle=False)
        except Exception as error:  # numpy raises many kinds on damaged bytes
            cause = " ".join(str(error).split())[:200]
            raise TaskError(
                f"{path.name}: not a readable .npy array ({cause}); write it with np.save(FILE, ids)"
            ) from error
    if array.ndim not in (1, 2):
        raise TaskError(f"{path.name}: tokens have shape {list(array.shape)}; expected [pos] or [document, pos]")
    return [_ids(path.name, row) for row in np.atleast_2d(array)]


def _ids(where: str, values: Any) -> Document:
    try:
        ids = np.asarray(values)
    except (ValueError, OverflowError) as error:  # lists of different lengths, or an integer beyond 64 bits
        raise TaskError(f"{where}: tokens are no array ({error}); expected a list of integers") from error
    if ids.ndim != 1:
        raise TaskError(f"{where}: tokens are nested {ids.ndim} deep; expected a list of integers")
    if ids.dtype.kind not in "iu" and ids.size:
        raise TaskError(f"{where}: tokens have dtype {ids.dtype}; expected integers")
    return ids.astype(np.int64)


@dataclass(frozen=True, eq=False)
class Windows:
    """Windows of one length.

    document:  index of each window's document
    start:     index in the document of the window's first token; BOS is not counted
    """

    tokens: Int[Tensor, "window pos"]
    document: Int[np.ndarray, " window"]
    start: Int[np.ndarray, " window"]


@dataclass(frozen=True, eq=False)
class Corpus:
    """Documents cut into consecutive windows; the last window of a document may be shorter.

    documents:  token ids, without BOS
    length:     tokens per window, BOS included
    bos:        the token put before every window; None: no token
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
        """Every window once, in batches of one length: full windows first, then the shorter ends of documents."""
        own = self.length - (self.bos is not None)
        cuts = [
            (document, start, min(own, len(ids) - start))
            for document, ids in enumerate(self.documents)
            for start in range(0, len(ids), own)
            if len(ids) - start + (self.bos is not None) >= 2  # a single token has no next token
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

    limit:             keep the first `limit` tokens of all documents together
    family, settings:  where the documents came from, for the recipe

    Raises TaskError for tokens outside the vocabulary, and if no document has a next token to predict.
    """
    if length < 2:
        raise TaskError(f"window length is {length} tokens; expected at least 2")
    kept: list[Document] = []
    for number, document in enumerate(documents):
        outside = (document < 0) | (document >= d_vocab)
        if outside.any():
            raise TaskError(
                f"token {document[outside.argmax()]} at position {outside.argmax()} of document {number}; expected 0 to"
                f" {d_vocab - 1}, this model's vocabulary; the text may have been encoded with another tokenizer"
            )
        left = None if limit is None else limit - sum(map(len, kept))
        if left is None or left > 0:
            kept.append(document[:left])
    if (longest := max(map(len, kept), default=0) + (bos is not None)) < 2:
        raise TaskError(
            f"the longest document has a length of {longest}, BOS included; expected at least 2; give longer text"
        )
    ids = [torch.from_numpy(document) for document in kept]
    full = {**(settings or {}), "window": length, "bos": bos, "limit": limit}
    return Corpus(tuple(kept), length, bos, Recipe(family, full, None, len(kept), tensors_sha256(*ids)))
