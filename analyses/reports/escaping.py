"""Names from checkpoints, files and settings are other people's text: made harmless where they enter a file.

HTML is escaped by the template engine, LaTeX by `latex.escape`, the terminal by `terminal.printable`.
"""

from __future__ import annotations

import hashlib
import re
from typing import Any

_FORMULA = ("=", "+", "-", "@", "\t", "\r")
_LONGEST_NAME = 80
_VISIBLE = str.maketrans({"\n": "⏎", "\r": "␍", "\t": "⇥"})


def visible(text: str) -> str:
    """Text on one line, its line ends and tabs as signs that can be seen."""
    return text.translate(_VISIBLE)


def csv_cell(value: Any) -> Any:
    """A cell that no spreadsheet takes for a formula (CWE-1236) and no reader for two lines. Numbers stay numbers."""
    if not isinstance(value, str):
        return value
    guarded = f"'{value}" if value.startswith(_FORMULA) else value
    return guarded.replace("\r", " ")  # the csv module quotes a line feed, but not this


def slug(text: str) -> str:
    """`text` as the name of one file or folder; text that had to be changed carries a digest of what it was."""
    plain = re.sub(r"[^A-Za-z0-9._-]+", "-", text).lstrip(".-")[:_LONGEST_NAME].rstrip(".-")
    if plain and plain == text:
        return plain
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"{plain}-{digest}" if plain else digest
