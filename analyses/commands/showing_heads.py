"""The heads of a report in the terminal: one row a head."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate
from typing import Any

from ..reports.heads import Column, HeadTable, frame, head_table
from ..reports.record import MOST_HEADS, Record
from ..reports.records import json_value
from .terminal import print_table, printable, width

GAP = 3
"""Columns of a terminal between two of a table, and about as many at its edges."""
Titled = tuple[str, list[str]]


def print_heads(report: Record) -> None:
    """The heads that have a verdict, the strongest first, in as many columns as fit; nothing where there are none."""
    table = head_table(report)
    if table is None:
        return
    rows = table.called[:MOST_HEADS]
    cells = [("head", [table.names[row] for row in rows])]
    if any(table.verdicts):
        cells.append(("verdict", [table.verdicts[row] for row in rows]))
    least = len(cells) + 1
    for column in table.shown:
        cells += _cells(column, rows)
    fitting = cells[: max(least, _number_that_fits(cells))]
    titles = _apart([title for title, _ in fitting])
    lines = zip(*(texts for _, texts in fitting), strict=True)
    print_table("Heads, with 95 % intervals", [dict(zip(titles, line, strict=True)) for line in lines])
    for line in _notes(table, rows, [title for title, _ in cells[len(fitting) :]]):
        print(printable(line))


def _cells(column: Column, rows: Sequence[int]) -> list[Titled]:
    """A number with its interval, and the null model beside it where the probe names one."""
    numbers = [f"{column.estimate(row)} {column.interval(row)}".strip() for row in rows]
    null = ("null", [column.text(float(column.null[row])) for row in rows])
    return [(column.of.heading, numbers), *([null] if column.has_null else [])]


def _number_that_fits(cells: Sequence[Titled]) -> int:
    """How many columns stand beside each other. The words of a title may stand below each other."""
    widths = [max(map(len, (*title.split(), *texts))) + GAP for title, texts in cells]
    return sum(total <= width() for total in accumulate(widths))


def _apart(titles: Sequence[str]) -> list[str]:
    """Titles as keys: one that comes again gets an invisible space more."""
    return [title + " " * titles[:place].count(title) for place, title in enumerate(titles)]


def _notes(table: HeadTable, rows: Sequence[int], without: Sequence[str]) -> list[str]:
    """What the rows and columns above leave out."""
    counts = ", ".join(f"{n:,} {verdict}" for verdict, n in table.counts().items())
    left = len(table.names) - len(rows)
    named = [title for title in without if title != "null"]
    return [
        *([f"{left:,} more heads; of all {len(table.names):,}: {counts or 'no verdict'}"] if left else []),
        *([f"not in this width: {', '.join(named)}"] if named else []),
        *(["--json prints every head and column"] if left or named else []),
        "",
    ]


def head_records(report: Record) -> list[dict[str, Any]]:
    """Every head and column for a program; none where the report has no heads."""
    if head_table(report) is None:
        return []
    made = frame(report).reset_index().astype(object)
    return [json_value(row) for row in made.where(made.notna(), None).to_dict("records")]
