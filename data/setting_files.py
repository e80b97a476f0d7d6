"""Tables of settings in a file: TOML, YAML or JSON, as its ending says."""

from __future__ import annotations

import json
import re
import tomllib
from collections import Counter
from functools import partial
from pathlib import Path
from typing import Any

from .errors import UsageError

ENDINGS = (".toml", ".yaml", ".yml", ".json")
_NUMBER = re.compile(r"[-+]?(?:\d[\d_]*\.?\d*|\.\d+)[eE][-+]?\d+")


def read_tables(path: Path) -> dict[str, Any]:
    """The tables by name; a file of another ending is TOML.

    UsageError for a file that cannot be read, and for one that holds something else.
    """
    kind, read = _READERS.get(path.suffix, ("TOML", tomllib.loads))
    try:
        found = read(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); check the path") from error
    except (ValueError, RecursionError) as error:
        raise UsageError(f"{path}: not {kind} ({' '.join(str(error).split())}); expected settings by name") from error
    if not isinstance(found, dict) or not all(isinstance(name, str) for name in found):
        what = "other names than text" if isinstance(found, dict) else f"a {type(found).__name__}"
        what = "nothing" if found is None else what
        raise UsageError(f"{path}: holds {what}; expected settings by name")
    return found


def once_each(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    """Pairs as a dictionary. ValueError if a name occurs twice, since readers differ in which value they take."""
    found = dict(pairs)
    if len(found) < len(pairs):
        ((name, _),) = Counter(name for name, _ in pairs).most_common(1)
        raise ValueError(f"the key {name!r:.60} occurs twice")
    return found


def _read_yaml(text: str) -> Any:
    """YAML of plain values: no tag makes an object of Python. ValueError for what is no such YAML."""
    import yaml

    class Loader(yaml.SafeLoader):
        """1e-4 is a number, as in TOML and JSON; no name stands twice; no alias, which may unfold without end."""

        def compose_node(self, parent: Any, index: Any) -> Any:
            if self.check_event(yaml.AliasEvent):
                raise ValueError(f"an alias in line {self.peek_event().start_mark.line + 1}; expected the value itself")
            return super().compose_node(parent, index)

        def construct_mapping(self, node: Any, deep: bool = False) -> dict[Any, Any]:
            found = super().construct_mapping(node, deep)
            once_each([(self.construct_object(key, deep=True), None) for key, _ in node.value])
            return found

    Loader.add_implicit_resolver("tag:yaml.org,2002:float", _NUMBER, list("-+.0123456789"))
    try:
        return yaml.load(text, Loader)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error


_READERS = {
    ".yaml": ("YAML", _read_yaml),
    ".yml": ("YAML", _read_yaml),
    ".json": ("JSON", partial(json.loads, object_pairs_hook=once_each)),
}
