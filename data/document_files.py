"""Files of documents, by their ending. Each reader gives entries: a document's text, or its token ids, and where it is.

    text     .txt .md (one document), .csv (column text), a folder of .txt
    either   .jsonl .json .parquet, a dataset that Hugging Face's library saved: text, or tokens / input_ids
    ids      .npy .npz [pos] or [document, pos]; .bin (16-bit integers, little-endian, one document)

Beside ids an attention_mask may say which of them are padding. Nothing in a file is executed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .errors import TaskError
from .file_contents import (
    STATE,
    arrow_files,
    arrow_tables,
    columns_and_rows,
    decoded,
    json_lines,
    parsed,
    read_bytes,
    refuse_splits,
)
from .npz import read_npz

IDS = ("tokens", "input_ids")
FOLDER = "a folder"
_RECORDS = 'expected {"text": "…"}, or {"tokens": [id, …]} (or input_ids, with or without an attention_mask)'


@dataclass(frozen=True)
class Entry:
    """One document as it stands in a file: its text, or its ids with a mask that may be missing."""

    where: str
    text: str | None = None
    ids: Any = None
    mask: Any = None


def entries(path: Path, asked: str | None = None) -> Iterator[Entry]:
    """The documents of a file or folder.

    asked:  "text" or "tokens", where only files of one kind are meant

    Raises TaskError for what cannot be read, and for an ending that no reader knows.
    """
    if path.is_dir():
        yield from _tables(path) if (path / STATE).exists() else _folder(path)
        return
    readers = {ending: read for kind, of in READERS.items() if asked in (None, *kind) for ending, read in of.items()}
    if (read := readers.get(path.suffix.lower())) is None:
        named = f"{path.suffix!r} is" if path.suffix else "a file without an ending is"
        of = f"--{asked} reads" if asked else "mesascope reads"
        raise TaskError(
            f"{path}: {named} none of {', '.join(readers)}, which {of}"
            f"{' beside a folder of .txt' if asked != 'tokens' else ''}; rename the file, or save it in one of these"
        )
    yield from read(path)


def members(path: Path) -> list[Path]:
    """The files that a path of documents stands for."""
    if not path.is_dir():
        return [path]
    return arrow_files(path) if (path / STATE).exists() else sorted(path.glob("*.txt"))


def _folder(path: Path) -> Iterator[Entry]:
    refuse_splits(path)
    for file in members(path):
        yield from _plain(file)


def _plain(path: Path) -> Iterator[Entry]:
    yield Entry(path.name, text=_text(path))


def _lines(path: Path) -> Iterator[Entry]:
    for where, record in json_lines(path.name, _text(path)):
        yield _record(where, record)


def _json(path: Path) -> Iterator[Entry]:
    """A list of documents, or one object of columns, as a tokenizer's output is."""
    held = parsed(path.name, _text(path))
    if isinstance(held, dict):
        yield from _columns(path.name, held)
    elif isinstance(held, list) and held and all(isinstance(item, int) for item in held):
        yield Entry(path.name, ids=held)
    elif isinstance(held, list):
        for number, item in enumerate(held):
            yield _item(f"{path.name}, document {number}", item)
    else:
        raise TaskError(f"{path.name}: holds a {type(held).__name__}; expected a list of documents")


def _columns(where: str, held: Mapping[str, Any]) -> Iterator[Entry]:
    name = next((name for name in ("text", *IDS) if isinstance(held.get(name), list)), None)
    nested = name is not None and all(isinstance(item, (list, str)) for item in held[name])
    if name is None or not nested:
        yield _record(where, held)
        return
    masks = held.get("attention_mask") or [None] * len(held[name])
    if len(masks) != len(held[name]):
        raise TaskError(f"{where}: {len(masks)} attention masks for {len(held[name])} documents; expected one for each")
    for number, (item, mask) in enumerate(zip(held[name], masks, strict=True)):
        yield _record(f"{where}, document {number}", {name: item, "attention_mask": mask})


def _item(where: str, item: Any) -> Entry:
    if isinstance(item, str):
        return Entry(where, text=item)
    return Entry(where, ids=item) if isinstance(item, list) else _record(where, item)


def _record(where: str, record: Any) -> Entry:
    if isinstance(record, Mapping):
        if isinstance(record.get("text"), str):
            return Entry(where, text=record["text"])
        ids = next((record[name] for name in IDS if isinstance(record.get(name), (list, np.ndarray))), None)
        if ids is not None:
            return Entry(where, ids=ids, mask=record.get("attention_mask"))
    raise TaskError(f"{where}: {json.dumps(record, default=str, ensure_ascii=False)!s:.60} is no document; {_RECORDS}")


def _csv(path: Path) -> Iterator[Entry]:
    columns, rows = columns_and_rows(path.name, _text(path))
    if "text" not in columns:
        raise TaskError(f"{path.name}: columns {columns}; expected one that is called text")
    for number, row in enumerate(rows, 1):
        yield Entry(f"{path.name}, row {number}", text=row["text"] or "")


def _tables(path: Path) -> Iterator[Entry]:
    for where, table in arrow_tables(path):
        wanted = [name for name in ("text", *IDS, "attention_mask") if name in table.column_names]
        if not set(wanted) - {"attention_mask"}:
            raise TaskError(f"{where}: columns {table.column_names}; expected text, tokens or input_ids")
        for number, record in enumerate(table.select(wanted).to_pylist()):
            yield _record(f"{where}, row {number}", record)


def _npy(path: Path) -> Iterator[Entry]:
    try:
        array = np.load(path, allow_pickle=False)
    except Exception as error:  # numpy raises many kinds on damaged bytes
        cause = " ".join(str(error).split())[:200]
        raise TaskError(
            f"{path.name}: not a readable .npy array ({cause}); write it with np.save(FILE, ids)"
        ) from error
    yield from _rows(path.name, array, None)


def _npz(path: Path) -> Iterator[Entry]:
    arrays = read_npz(path, TaskError)
    name = next((name for name in IDS if name in arrays), None)
    if name is None:
        raise TaskError(
            f"{path.name}: no array 'tokens' or 'input_ids'; found {sorted(arrays)}; write it with"
            " np.savez(FILE, tokens=ids)"
        )
    yield from _rows(path.name, arrays[name], arrays.get("attention_mask"))


def _rows(where: str, array: np.ndarray, mask: np.ndarray | None) -> Iterator[Entry]:
    if array.ndim not in (1, 2):
        raise TaskError(f"{where}: tokens have shape {list(array.shape)}; expected [pos] or [document, pos]")
    if mask is not None and mask.shape != array.shape:
        raise TaskError(
            f"{where}: attention_mask has shape {list(mask.shape)}; expected that of the tokens, {list(array.shape)}"
        )
    masks = [None] * len(np.atleast_2d(array)) if mask is None else np.atleast_2d(mask)
    for row, of_row in zip(np.atleast_2d(array), masks, strict=True):
        yield Entry(where, ids=row, mask=of_row)


def _bin(path: Path) -> Iterator[Entry]:
    """16-bit ids, as nanoGPT's `prepare.py` writes them."""
    content = read_bytes(path)
    if len(content) % 2:
        raise TaskError(f"{path.name}: {len(content):,} bytes; expected 16-bit token ids, so an even number of bytes")
    yield Entry(path.name, ids=np.frombuffer(content, dtype="<u2"))


def _text(path: Path) -> str:
    return decoded(path, ", or ids in .npy or .npz")


Reader = Callable[[Path], Iterator[Entry]]
READERS: dict[tuple[str, ...], dict[str, Reader]] = {
    ("text",): {".txt": _plain, ".md": _plain, ".csv": _csv},
    ("text", "tokens"): {".jsonl": _lines, ".json": _json, ".parquet": _tables},
    ("tokens",): {".npy": _npy, ".npz": _npz, ".bin": _bin},
}
"""By what a user may ask for."""
