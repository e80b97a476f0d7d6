"""Values of settings as text: what a user types on the command line, and the text that is read back as a value.

true, false, none, 3, 0.5, gd+gdpp     one value
[20,30]  or  20,30                     several
tied=true,n_layers=2                   by name
"a,b.txt"                              text as it stands, in the quotes of JSON
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from .errors import UsageError

_WORDS = {"true": True, "false": False, "none": None, "null": None}
_ITEM = re.compile(r'(?:"(?:\\.|[^"\\])*"|\[[^\]]*\]|[^,])+')  # commas within quotes or brackets separate nothing
_SEPARATING = set('[]",=')


def readings(text: str) -> Iterator[Any]:
    """Every value that a text can mean, the likeliest first. Which one is meant, the type of the setting decides."""
    yield guess(text)
    yield text
    inside = text.strip()
    inside = inside[1:-1] if _bracketed(inside) else inside
    yield tuple(map(guess, items(inside)))
    yield tuple(map(unquoted, items(inside)))


def guess(text: str) -> Any:
    """The value that a text means where no type says more. Lists are tuples."""
    bare = text.strip()
    if bare.lower() in _WORDS:
        return _WORDS[bare.lower()]
    if _bracketed(bare):
        return tuple(map(guess, items(bare[1:-1])))
    for number in (int, float):
        try:
            return number(bare)
        except ValueError:
            continue
    return unquoted(text)


def unquoted(text: str) -> str:
    """The text within the quotes of JSON; any other text as it is."""
    if len(text) > 1 and text.startswith('"') and text.endswith('"'):
        try:
            return json.loads(text)
        except ValueError:
            return text
    return text


def items(text: str) -> list[str]:
    """Texts between commas, without blanks around them; nothing between two commas is no item."""
    return [item for found in _ITEM.findall(text) if (item := found.strip())]


def pairs(text: str, read: Callable[[str], Any] = guess) -> dict[str, Any]:
    """`name=value,…` by name, each value as `read` reads it. A hyphen in a name is an underscore."""
    found: dict[str, Any] = {}
    for item in items(text):
        name, equals, value = item.partition("=")
        if not equals or not name.strip():
            raise UsageError(f"{item!r} has no name; expected name=value, several separated by commas")
        found[name.strip().replace("-", "_")] = read(value.strip())
    return found


def written(value: Any) -> str:
    """A value as text that is read back as the same value."""
    if isinstance(value, Mapping):
        return ",".join(f"{name}={_item(item)}" for name, item in value.items())
    if isinstance(value, list | tuple):
        return f"[{','.join(map(_item, value))}]"
    if isinstance(value, str):
        return value if guess(value) == value else json.dumps(value, ensure_ascii=False)
    return "none" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _item(value: Any) -> str:
    """A value that commas separate from others."""
    if isinstance(value, str) and (not value or value != value.strip() or _SEPARATING & set(value)):
        return json.dumps(value, ensure_ascii=False)
    return written(value)


def _bracketed(text: str) -> bool:
    return text.startswith("[") and text.endswith("]")
