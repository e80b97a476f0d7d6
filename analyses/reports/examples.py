"""Examples of a report, rows of texts and numbers to look at, as text for people: on the page and in LaTeX."""

from __future__ import annotations

from typing import Any

from ...probes.findings import Cell, Examples
from .escaping import visible
from .record import Record
from .tidy import short

INFINITE = ("Infinity", "-Infinity")
"""How infinite numbers are saved."""
MOST_ON_PAGE = 60
"""Rows under one name."""


def cell_words(value: Cell) -> str:
    """A cell for people: numbers rounded, line ends and tabs visible, nothing where there is nothing."""
    if isinstance(value, float):
        return short(value)
    return "" if value is None else visible(str(value))


def in_words(examples: Examples, most: int) -> list[tuple[str, ...]]:
    """The first rows for people."""
    return [tuple(map(cell_words, row)) for row in examples.rows[:most]]


def numeric(examples: Examples) -> list[bool]:
    """Of each column, whether it holds numbers alone. There is at least one row."""
    columns = zip(*examples.rows, strict=True)
    return [all(not isinstance(value, str) or value in INFINITE for value in column) for column in columns]


def for_page(report: Record) -> list[dict[str, Any]]:
    """What the page prints under each name."""
    return [
        {
            "title": name.replace("_", " ").capitalize(),
            "columns": list(zip(map(str.capitalize, examples.columns), numeric(examples), strict=True)),
            "rows": [list(zip(row, numeric(examples), strict=True)) for row in in_words(examples, MOST_ON_PAGE)],
            "more": max(len(examples.rows) - MOST_ON_PAGE, 0),
        }
        for name, examples in report.examples.items()
        if examples.rows
    ]
