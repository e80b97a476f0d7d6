"""Text for people: tables and claim cards in the terminal. Imports neither torch nor pandas."""

from __future__ import annotations

import json
import math
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

_UNPRINTABLE = {"Cc", "Cf", "Cs", "Zl", "Zp"}
LONG_LIST = 10
"""Longer lists are cut in the middle; --json has them whole."""
PIPED_WIDTH = 160
"""Columns where there is no terminal: rich takes 80, and would fold every table."""
PIPED_HEIGHT, EDGES, FEWEST_LINES = 30, 12, 8
"""Lines of a table where there is no terminal; those of one that are not for the table; and the fewest it has."""
_CARD = {"Found": "found", "Compared with": "rival", "Evidence": "evidence", "Does not show": "limits"}


def printable(text: str) -> str:
    """`text` without what steers a terminal or reorders letters: control, bidi and other invisible characters."""
    return "".join(char for char in text if char == "\n" or unicodedata.category(char) not in _UNPRINTABLE)


def sentence(text: str) -> str:
    """`text` with a full stop at its end."""
    return text if text.endswith((".", "!", "?")) else f"{text}."


def complain(error: Exception) -> None:
    """One line on stderr."""
    print(f"mesascope: error: {printable(' '.join(str(error).split()))}", file=sys.stderr)


def warn(text: str) -> None:
    """One line on stderr about something that does not stop the command."""
    print(f"mesascope: warning: {printable(' '.join(text.split()))}", file=sys.stderr)


def print_json(value: Any) -> None:
    """Data for other programs, alone on stdout."""
    print(json.dumps(value, indent=2, allow_nan=False))


def width() -> int:
    """Columns of standard output."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPED_WIDTH


def height() -> int:
    """Lines of standard output that a table may fill."""
    return max(shutil.get_terminal_size().lines - EDGES, FEWEST_LINES) if sys.stdout.isatty() else PIPED_HEIGHT


def print_rich(item: Any) -> None:
    """Print a rich object on standard output. Text is taken as it is: brackets in a file's name are not markup."""
    from rich.console import Console

    class Terminal(Console):
        def on_broken_pipe(self) -> NoReturn:
            raise BrokenPipeError  # rich would exit on its own, with another code

    Terminal(width=width(), markup=False, highlight=False, emoji=False).print(item)


def print_table(title: str, rows: Sequence[Mapping[str, Any]], columns: Iterable[str] | None = None) -> None:
    """Rows as a table under a title; the columns are those of the first row."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    names = list(columns or (rows[0] if rows else ()))
    table = Table(title=Text(printable(title), style="bold"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(names):
        numeric = bool(rows) and all(_is_number(row[name]) for row in rows)
        table.add_column(Text(name), justify="right" if numeric else "left", overflow="fold", no_wrap=index == 0)
    for row in rows:
        table.add_row(*(Text(cell_text(row[name])) for name in names))
    print_rich(table if rows else Text(f"{printable(title)}\n  (none)\n"))


def print_claim(title: str, claim: Mapping[str, Any]) -> None:
    """The claim card: what was found, what it was compared with, the evidence, and what it does not show."""
    from rich import box
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    card = Table.grid(padding=(0, 2, 0, 0))
    card.add_column(style="bold", no_wrap=True)
    card.add_column(overflow="fold")
    for label, part in _CARD.items():
        text = claim[part] if isinstance(claim[part], str) else "\n".join(f"• {limit}" for limit in claim[part])
        card.add_row(label, Text(printable(text)))
    print_rich(Panel(card, title=Text(printable(title)), title_align="left", box=box.HORIZONTALS, padding=0))


def number(value: float, digits: int = 4) -> str:
    """So many digits; no minus before a zero."""
    return "undefined" if math.isnan(value) else f"{value + 0.0:.{digits}g}"


def interval(low: float, high: float, digits: int = 4) -> str:
    """[low, high], or nothing where there is none."""
    return "" if math.isnan(low) else f"[{number(low, digits)}, {number(high, digits)}]"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def cell_text(value: Any) -> str:
    """A value in a table: yes or no, numbers rounded, long lists cut in the middle, settings as name=default."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return number(value)
    if isinstance(value, Mapping):
        return printable(", ".join(name if shown is None else f"{name}={shown}" for name, shown in value.items()))
    if isinstance(value, list | tuple):
        shown = list(map(str, value))
        if len(shown) > LONG_LIST:
            shown = [*shown[:2], "…", f"{shown[-1]} ({len(shown)})"]
        return printable(", ".join(shown))
    return printable("" if value is None else str(value)).replace("\n", " ")
