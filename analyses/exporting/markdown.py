"""A table as Markdown, as GitHub shows it. Names are escaped; nothing in them is a link, a tag or another cell."""

from __future__ import annotations

import re

import numpy as np

from ..reports.tidy import short
from .tables import Cell, Line, Table

_SPECIAL = re.compile(r"([\\`*_\[\]<>|~$&#])")


def escape(text: str) -> str:
    """Any text on one line, with every character that means something escaped; what cannot be printed is left out."""
    return _SPECIAL.sub(r"\\\1", "".join(char for char in " ".join(text.split()) if char.isprintable()))


def markdown(table: Table) -> str:
    """A heading, the table, the caption, and the notes."""
    header = ["Measure", "Unit", *map(escape, table.models)]
    sides = [":--", ":--", *["--:"] * len(table.models)]
    rows = [_row(header), _row(sides), *(_row(_cells(table, line)) for line in table.lines)]
    notes = [f"<sup>{mark}</sup> {escape(note)}  " for note, mark in table.marks.items()]
    blocks = [f"### {escape(table.probe)}", "\n".join(rows), "  \n".join(map(escape, table.caption)), "\n".join(notes)]
    return "\n\n".join(block for block in blocks if block) + "\n"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(table: Table, line: Line) -> list[str]:
    first = f"↳ null: {escape(line.name)}" if line.is_null else escape(line.name) + _mark(table.marked(line.notes))
    unit = "" if line.is_null else escape(line.unit)
    return [first, unit, *(_number(cell) + _mark(table.marked(cell.notes)) for cell in line.cells)]


def _number(cell: Cell) -> str:
    if np.isnan(cell.value):
        return cell.absent
    interval = f" [{short(cell.low)}, {short(cell.high)}]" if np.isfinite(cell.low) else ""
    spread = f" ± {cell.spread:.2g}" if np.isfinite(cell.spread) else ""
    return short(cell.value) + interval + spread


def _mark(letters: str) -> str:
    return f" <sup>{letters}</sup>" if letters else ""
