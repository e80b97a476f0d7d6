"""Text for people: tables and claim cards in the terminal. Imports neither torch nor pandas."""

from __future__ import annotations

import json
import math
import shutil
import sys
import unicodedata
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

_STEERING = {"Cc", "Cf", "Cs", "Zl", "Zp"}
MANY = 10  # longer lists are cut in the middle; --json has them whole
PIPED_WIDTH = 160  # rich takes 80 columns where there is no terminal, and would fold every table


def printable(text: str) -> str:
    """`text` without what steers a terminal or reorders letters: control, bidi and other invisible characters."""
    return "".join(char for char in text if char == "\n" or unicodedata.category(char) not in _STEERING)


def complain(error: Exception) -> None:
    """One line on stderr."""
    print(f"mesascope: error: {printable(' '.join(str(error).split()))}", file=sys.stderr)


def print_json(value: Any) -> None:
    """Data for other programs, alone on stdout."""
    print(json.dumps(value, indent=2, allow_nan=False))


def width() -> int:
    """Columns of standard output."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else PIPED_WIDTH


def show(item: Any) -> None:
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
        numeric = bool(rows) and all(isinstance(row[name], int | float) for row in rows)
        table.add_column(Text(name), justify="right" if numeric else "left", overflow="fold", no_wrap=index == 0)
    for row in rows:
        table.add_row(*(Text(_cell(row[name])) for name in names))
    show(table if rows else Text(f"{printable(title)}\n  (none)\n"))


def print_claim(title: str, claim: Mapping[str, Any]) -> None:
    """The claim card: what was found, beside which rival, from what, and what it does not show."""
    from rich.panel import Panel
    from rich.table import Table
    from rich.text import Text

    card = Table.grid(padding=(0, 2, 0, 0))
    card.add_column(style="bold", no_wrap=True)
    card.add_column(overflow="fold")
    limits = "\n".join(f"• {limit}" for limit in claim["limits"])
    parts = {"found": claim["found"], "beside": claim["rival"], "from": claim["evidence"], "does not show": limits}
    for name, text in parts.items():
        card.add_row(name, Text(printable(text)))
    show(Panel(card, title=Text(printable(title)), title_align="left"))


def number(value: float, digits: int = 4) -> str:
    """So many digits; no minus before a zero."""
    return "undefined" if math.isnan(value) else f"{value + 0.0:.{digits}g}"


def _cell(value: Any) -> str:
    if isinstance(value, float):
        return number(value)
    if isinstance(value, Mapping):
        return printable(", ".join(name if shown == "None" else f"{name}={shown}" for name, shown in value.items()))
    if isinstance(value, list | tuple):
        shown = list(map(str, value))
        if len(shown) > MANY:
            shown = [*shown[:2], "…", f"{shown[-1]} ({len(shown)})"]
        return printable(", ".join(shown))
    return printable("" if value is None else str(value)).replace("\n", " ")
