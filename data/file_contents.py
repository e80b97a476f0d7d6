"""What stands in a user's file, before anybody says what it means: text, JSON, rows of a table. Nothing is executed."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .errors import TaskError
from .setting_files import once_each

STATE = "state.json"
"""The file by which a folder is known that `datasets.Dataset.save_to_disk` wrote."""


def read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise TaskError(f"{path}: cannot be read ({error.strerror}); check the path") from error


def decoded(path: Path, instead: str = "") -> str:
    """A file's text. `instead` is what else could be given, for the message."""
    try:
        return read_bytes(path).decode("utf-8-sig")  # a byte-order mark is none of the text
    except UnicodeDecodeError as error:
        raise TaskError(f"{path}: byte {error.start} is not UTF-8; expected UTF-8 text{instead}") from error


def parsed(where: str, text: str, strict: bool = False) -> Any:
    """The value of a JSON text. `strict`: no key occurs twice in an object, and NaN is no number."""
    rules: dict[str, Any] = {"object_pairs_hook": once_each, "parse_constant": _no_number} if strict else {}
    try:
        return json.loads(text, **rules)
    except (ValueError, RecursionError) as error:
        raise TaskError(f"{where}: not JSON ({error})") from error


def json_lines(where: str, text: str, strict: bool = False) -> Iterator[tuple[str, Any]]:
    """Each line's value, with its place; blank lines are none."""
    # only a newline ends a line: U+2028 and U+0085 may stand inside a string
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            yield f"{where}, line {number}", parsed(f"{where}, line {number}", line, strict)


def columns_and_rows(
    where: str, text: str, delimiter: str = ",", strict: bool = False
) -> tuple[list[str], Iterator[dict[Any, Any]]]:
    """The header of a table and its rows; cells beyond the header are under None.

    strict:  a quotation mark that opens a cell also closes it
    """
    csv.field_size_limit(2**31 - 1)  # a document is longer than the usual cell
    rows = csv.DictReader(io.StringIO(text, newline=""), delimiter=delimiter, strict=strict)
    try:
        return list(rows.fieldnames or ()), _told_where(where, rows)
    except csv.Error as error:
        raise _no_row(f"{where}, header", error) from error


def _told_where(where: str, rows: csv.DictReader) -> Iterator[dict[Any, Any]]:
    try:
        yield from rows
    except csv.Error as error:
        raise _no_row(f"{where}, line {rows.reader.line_num}", error) from error


def _no_row(where: str, error: csv.Error) -> TaskError:
    return TaskError(
        f"{where}: no row of a table ({error}); double the quotation marks of a cell, or save it as .jsonl"
    )


def refuse_splits(path: Path) -> None:
    """Raise TaskError for a folder of several datasets."""
    if (path / "dataset_dict.json").exists():
        raise TaskError(f"{path}: a dataset of several splits; give the folder of one of them, {path.name}/train say")


def arrow_files(path: Path) -> list[Path]:
    """The files of a saved dataset, in the order of its state."""
    state = parsed(f"{path.name}/{STATE}", decoded(path / STATE))
    held = state.get("_data_files") if isinstance(state, dict) else None
    names = [item.get("filename") if isinstance(item, dict) else None for item in held or ()]
    if not names or not all(isinstance(name, str) and Path(name).name == name for name in names):
        raise TaskError(f"{path.name}/{STATE}: names no files of data; expected a dataset saved by save_to_disk")
    return [path / str(name) for name in names]


def arrow_tables(path: Path) -> Iterator[tuple[str, Any]]:
    """The table of a parquet file, or those of a saved dataset's Arrow streams, each with its place."""
    if not path.is_dir():
        yield path.name, _table(path.name, lambda arrow: arrow.parquet.read_table(path))
        return
    for file in arrow_files(path):
        where = f"{path.name}/{file.name}"
        yield where, _table(where, lambda arrow, file=file: arrow.ipc.open_stream(file).read_all())


def _table(where: str, read: Callable[[Any], Any]) -> Any:
    try:
        import pyarrow
        import pyarrow.ipc
        import pyarrow.parquet
    except ImportError as error:
        raise TaskError(f"{where}: reading it takes pyarrow (pip install pyarrow); or save it as .jsonl") from error
    try:
        return read(pyarrow)
    except Exception as error:  # pyarrow raises many kinds on damaged bytes
        raise TaskError(f"{where}: cannot be read ({' '.join(str(error).split())[:200]})") from error


def _no_number(name: str) -> Any:
    raise ValueError(f"{name} is no number of JSON")
