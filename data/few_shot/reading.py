"""Files of few-shot examples, by their ending: an input, its output, and perhaps the options and the task.

    .json         a list of {"input": …, "output": …, "options": […], "task": …}, the last two as one likes
    .jsonl        such an object on every line
    .csv .tsv     a header that names the columns
    .parquet, a folder of `datasets.Dataset.save_to_disk`: numbers of classes become the names that the features hold

Inputs and outputs are all text, or all lists of token ids. Nothing in a file is executed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from ..errors import TaskError, not_a_file
from ..file_contents import (
    STATE,
    arrow_files,
    arrow_tables,
    columns_and_rows,
    decoded,
    json_lines,
    parsed,
    refuse_splits,
)
from .examples import Examples, check_columns, example_of, kind_of, record_of

LARGEST = 256 * 2**20
"""Bytes of a file: few-shot tasks draw a few hundred examples."""
OTHERS = ("options", "task")
_LM_EVAL = (
    "a task of lm-eval holds templates and code, which mesascope does not run. Run lm_eval with --log_samples, and"
    " write its samples as lines of input and output: jq -c '{input: .doc.TEXT, output: .doc.LABEL}' samples_TASK.jsonl"
    " > mine.jsonl"
)
Record = tuple[str, Mapping[str, Any]]
"""One example as the file holds it, and where it is."""


def read_examples(path: str | Path, columns: tuple[str, str] = ("input", "output")) -> Examples:
    """The examples of a file or folder.

    columns:  what the file calls input and output

    Raises TaskError for what cannot be read or is not meant so: see the tests for each case in words.
    """
    path = Path(path)
    examples = [example_of(where, record, columns) for where, record in _records(path, columns)]
    if not examples:
        raise TaskError(f"{path.name}: no example; expected lines of {record_of(columns)}")
    first = examples[0]
    for where, example in enumerate(examples, 1):
        if type(example.input) is not type(first.input):
            raise TaskError(
                f"{path.name}: example 1 is {kind_of(first.input)}, and example {where} is {kind_of(example.input)};"
                " expected text in all, or token ids in all"
            )
    return Examples(tuple(examples), path.name)


def _records(path: Path, columns: tuple[str, str]) -> Iterator[Record]:
    if path.is_dir():
        refuse_splits(path)
        if not (path / STATE).exists():
            raise TaskError(f"{path}: a folder without {STATE}; expected one that datasets.Dataset.save_to_disk wrote")
        for file in arrow_files(path):
            _check_size(file)
        return _tables(path, columns)
    if path.suffix.lower() in (".yaml", ".yml"):
        raise TaskError(f"{path.name}: {_LM_EVAL}")
    if (read := _READERS.get(path.suffix.lower())) is None:
        named = f"{path.suffix!r} is" if path.suffix else "a file without an ending is"
        raise TaskError(f"{path}: {named} none of {', '.join(_READERS)}, nor a folder of datasets; save it as .jsonl")
    _check_size(path)
    return read(path, columns)


def _check_size(path: Path) -> None:
    """Before a byte is read: one line may be as long as the file."""
    if not path.is_file():
        raise TaskError(not_a_file(path))
    if (size := path.stat().st_size) > LARGEST:
        raise TaskError(
            f"{path.name}: {size / 2**20:,.0f} MiB; expected at most {LARGEST / 2**20:.0f} MiB, one example on a line;"
            " keep some of the examples: head -n 10000 FILE > some.jsonl"
        )


def _lines(path: Path, _: tuple[str, str]) -> Iterator[Record]:
    return json_lines(path.name, decoded(path), strict=True)


def _json(path: Path, _: tuple[str, str]) -> Iterator[Record]:
    held = parsed(path.name, decoded(path), strict=True)
    if not isinstance(held, list):
        raise TaskError(f'{path.name}: holds a {type(held).__name__}; expected a list of {{"input": …, "output": …}}')
    for number, record in enumerate(held, 1):
        yield f"{path.name}, example {number}", record


def _csv(path: Path, columns: tuple[str, str]) -> Iterator[Record]:
    yield from _rows(path, columns, ",")


def _tsv(path: Path, columns: tuple[str, str]) -> Iterator[Record]:
    """Tables of this kind often hold quotation marks that open nothing: a cell across several lines is refused."""
    for where, row in _rows(path, columns, "\t"):
        if any("\n" in cell or "\t" in cell for cell in row.values()):
            raise TaskError(
                f"{where}: a quotation mark opens a cell of several lines; double the mark, or save the file as .jsonl"
            )
        yield where, row


def _rows(path: Path, columns: tuple[str, str], delimiter: str) -> Iterator[Record]:
    names, rows = columns_and_rows(path.name, decoded(path), delimiter, strict=True)
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise TaskError(f"{path.name}: the header names {twice[0]!r:.60} twice; expected each column once")
    check_columns(path.name, names, columns)
    for number, row in enumerate(rows, 1):
        if None in row or None in row.values():
            n = len(names) + len(row.get(None) or ()) - sum(cell is None for cell in row.values())
            raise TaskError(f"{path.name}, row {number}: {n} cells; expected {len(names)}, as many as the header has")
        yield f"{path.name}, row {number}", row


def _tables(path: Path, columns: tuple[str, str]) -> Iterator[Record]:
    for where, table in arrow_tables(path):
        check_columns(where, table.column_names, columns)
        names = _class_names(table.schema.metadata)
        wanted = [name for name in (*columns, *OTHERS) if name in table.column_names]
        for number, record in enumerate(table.select(wanted).to_pylist(), 1):
            place = f"{where}, row {number}"
            yield place, {name: _named(place, value, names.get(name)) for name, value in record.items()}


def _class_names(metadata: Mapping[bytes, bytes] | None) -> dict[str, list[str]]:
    """The names of classes that the datasets library writes beside a table, by column."""
    try:
        features = json.loads((metadata or {}).get(b"huggingface", b"{}")).get("info", {}).get("features", {})
        return {name: list(of["names"]) for name, of in features.items() if of.get("_type") == "ClassLabel"}
    except (ValueError, AttributeError, KeyError, TypeError):
        return {}  # numbers stay numbers, which are refused in words


def _named(where: str, value: Any, names: Sequence[str] | None) -> Any:
    if names is None or value is None:
        return value
    if not 0 <= value < len(names):
        raise TaskError(
            f"{where}: class {value}, and the features name {len(names)} classes, 0 to {len(names) - 1}; leave out rows"
            " without a label (test splits often have -1)"
        )
    return names[value]


_READERS: dict[str, Callable[[Path, tuple[str, str]], Iterator[Record]]] = {
    ".json": _json,
    ".jsonl": _lines,
    ".csv": _csv,
    ".tsv": _tsv,
    ".parquet": _tables,
}
