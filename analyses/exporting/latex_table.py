"""A table as LaTeX with booktabs: a float with its caption and notes, as wide as a page of one column.

Where the models do not all fit beside each other, intervals stand below the numbers; where that is not enough, the
models that are left stand below the others in the same table.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from itertools import groupby

import numpy as np

from ..reports.escaping import slug
from ..reports.latex import escape, number
from ..reports.tidy import short
from .tables import Cell, Line, Table

WIDTH, BETWEEN, SMALL = 92, 2, 0.9
"""Characters in a line of a page, at the size of the table; those between two columns; and the width of a small one."""
LONGEST, LONGEST_MODEL = 28, 16
"""Characters up to which names of measures and of models stand in one line."""
SCRIPT = r"\scriptsize "
_PIECE = re.compile(r"\[.*|[^-_/+ \[]+[-_/+ ]*|[-_/+ ]+")
"""What a line of a name is made of: words with what joins them to the next, and labels in brackets."""


def latex(table: Table) -> str:
    """One float, or several of as many models as fit beside each other. They need the package booktabs."""
    tall = len(_fitting(table, tall=False)) > 1
    parts = [table.columns(chosen) for chosen in _fitting(table, tall)]
    labels = [slug(table.probe) if n == 1 else f"{slug(table.probe)}-{n}" for n in range(1, len(parts) + 1)]
    return "\n".join(_float(part, label, tall) for part, label in zip(parts, labels, strict=True))


def _float(table: Table, label: str, tall: bool) -> str:
    names = [_stacked(model, LONGEST_MODEL, "r") for model in table.models]
    lines = [
        "% needs \\usepackage{booktabs}", r"\begin{table}", r"\centering", r"\small",
        rf"\caption{{{' '.join(map(escape, table.caption))}}}", rf"\label{{tab:{label}}}", r"\smallskip",
        r"\footnotesize", r"\setlength{\tabcolsep}{4pt}",
        rf"\begin{{tabular}}{{@{{}}l{'r' * len(names)}@{{}}}}", r"\toprule", _row("", names), r"\midrule",
        *_body(table, tall), r"\bottomrule", r"\end{tabular}", *_notes(table), r"\end{table}",
    ]  # fmt: skip
    return "\n".join(lines) + "\n"


def _notes(table: Table) -> list[str]:
    if not table.marks:
        return []
    notes = [rf"\textsuperscript{{{mark}}}~{escape(note)}\par" for note, mark in table.marks.items()]
    return [r"\par\smallskip", r"\begin{minipage}{\linewidth}\footnotesize", *notes, r"\end{minipage}"]


# -- what fits beside each other --------------------------------------------------------------------------------------


def _fitting(table: Table, tall: bool) -> list[slice]:
    """The models, as many in a part as fit beside each other."""
    first = max(len(piece) for line in table.lines for piece in _pieces(line.name, LONGEST)) + BETWEEN
    room, starts = WIDTH - first, [0]
    for column in range(len(table.models)):
        room -= _width(table, column, tall)
        if room < 0 and column > starts[-1]:
            starts.append(column)
            room = WIDTH - first - _width(table, column, tall)
    return [slice(start, end) for start, end in zip(starts, [*starts[1:], len(table.models)], strict=True)]


def _width(table: Table, column: int, tall: bool) -> float:
    """Characters of a column, with its distance from the next."""
    widths: list[float] = [len(piece) for piece in _pieces(table.models[column], LONGEST_MODEL)]
    for line in table.lines:
        cell = line.cells[column]
        number = len(short(cell.value)) + len(table.marked(cell.notes))
        interval = len(f" [{short(cell.low)}, {short(cell.high)}]") if np.isfinite(cell.low) else 0
        if line.is_null:
            widths.append(SMALL * len(f"{short(cell.value)} ± {cell.spread:.2g}"))
        else:
            widths += [number, SMALL * interval] if tall else [number + interval]
    return max(widths) + BETWEEN


def _pieces(name: str, longest: int) -> list[str]:
    """A name in lines that are not longer, where it can be broken so."""
    lines = [""]
    for piece in _PIECE.findall(name):
        if lines[-1] and len(lines[-1] + piece.rstrip()) > longest:
            lines.append("")
        lines[-1] += piece
    return lines


# -- rows -------------------------------------------------------------------------------------------------------------


def _body(table: Table, tall: bool) -> Iterator[str]:
    """All lines, those of one unit under it."""
    for unit, lines in groupby(table.lines, key=lambda line: line.unit):
        yield rf"\multicolumn{{{len(table.models) + 1}}}{{@{{}}l@{{}}}}{{\emph{{{escape(unit)}}}}} \\"
        for line in lines:
            yield from _null(line) if line.is_null else _measure(table, line, tall)


def _measure(table: Table, line: Line, tall: bool) -> Iterator[str]:
    """A measure; `tall`: in two rows, the second with its intervals."""
    first = rf"\quad {_stacked(line.name, LONGEST, 'l', _mark(table.marked(line.notes)))}"
    marks, intervals = [_mark(table.marked(cell.notes)) for cell in line.cells], list(map(_interval, line.cells))
    beside = [f" {interval}" if interval and not tall else "" for interval in intervals]
    yield _row(first, [_value(cell) + more + mark for cell, more, mark in zip(line.cells, beside, marks, strict=True)])
    if tall and any(intervals):
        yield _row("", [interval and SCRIPT + interval for interval in intervals])


def _null(line: Line) -> Iterator[str]:
    numbers = [f"{_value(cell)} {_spread(cell)}".strip() for cell in line.cells]
    yield _row(rf"\qquad{SCRIPT}null: {escape(line.name)}", [number and SCRIPT + number for number in numbers])


def _row(first: str, cells: Sequence[str]) -> str:
    return " & ".join([first, *cells]) + r" \\"


def _stacked(name: str, longest: int, side: str, mark: str = "") -> str:
    lines = [escape(piece) for piece in _pieces(name, longest)]
    broken = r"\\{}".join(lines) + mark  # a bracket after the two backslashes would be a length
    return broken if len(lines) == 1 else rf"\shortstack[{side}]{{{broken}}}"


def _value(cell: Cell) -> str:
    return escape(cell.absent) if np.isnan(cell.value) else number(cell.value)


def _interval(cell: Cell) -> str:
    return f"[{number(cell.low)}, {number(cell.high)}]" if np.isfinite(cell.low) else ""


def _spread(cell: Cell) -> str:
    return rf"$\pm$ {number(float(format(cell.spread, '.2g')))}" if np.isfinite(cell.spread) else ""


def _mark(letters: str) -> str:
    return rf"\textsuperscript{{{letters}}}" if letters else ""
