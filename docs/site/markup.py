"""What Markdown would take for its own: lists of arguments in docstrings, signs in text, files named by fences.

An argument, a field or a setting is described by a line `name:  what it is`, with at least two blanks after the colon,
and further lines of it are indented. Such lines become a list of definitions.
"""

from __future__ import annotations

import re

_ITEM = re.compile(r"^(?P<names>\*{0,2}[\w…]+(?:, \*{0,2}[\w…]+)*):  +(?P<text>\S.*)$")
_CODE = re.compile(r"(`[^`]*`)")
_FENCE = re.compile(r"^```(\w+) file=(\S+)$", flags=re.MULTILINE)


def of_docstring(docstring: str) -> str:
    """A docstring of this package as Markdown."""
    lines: list[str] = []
    in_item = False
    for line in docstring.splitlines():
        item, goes_on = _ITEM.match(line), in_item and line.startswith("  ")
        if item:
            names = ", ".join(f"`{name}`" for name in item["names"].split(", "))
            lines += ["", names, f":   {escaped(item['text'])}"]
        elif goes_on:
            lines.append(f"    {escaped(line.strip())}")
        else:
            lines += ["", escaped(line)] if in_item and line.strip() else [escaped(line)]
        in_item = bool(item) or goes_on
    return "\n".join(lines).strip()


def escaped(line: str) -> str:
    """The line without HTML and emphasis; code stays as it is."""
    if line.startswith("    "):
        return line
    parts = _CODE.split(line)
    return "".join(part if part.startswith("`") else re.sub(r"([<*_])", r"\\\1", part) for part in parts)


def in_cell(text: str) -> str:
    """Text that stays in its cell of a table, and is no HTML."""
    return text.replace("|", "&#124;").replace("<", "&lt;")


def titled(page: str) -> str:
    """A page whose fences name the file they quote: the name becomes a title."""
    return _FENCE.sub(r'```\1 title="\2"', page)
