"""Text for people: tables and claim cards in the terminal. Imports neither torch nor pandas."""

from __future__ import annotations

import unicodedata

_STEERING = {"Cc", "Cf", "Cs", "Zl", "Zp"}


def printable(text: str) -> str:
    """`text` without what steers a terminal or reorders letters: control, bidi and other invisible characters."""
    return "".join(char for char in text if char == "\n" or unicodedata.category(char) not in _STEERING)
