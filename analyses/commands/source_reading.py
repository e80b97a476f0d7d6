"""What the sources say of a probe or a family of tasks, read without importing them: one line, settings, docstring."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import MISSING, dataclass, fields
from importlib.util import find_spec
from pathlib import Path
from typing import Any, get_type_hints

_MEANING = re.compile(r"(?P<names>[a-z]\w*(?:, [a-z]\w*)*):\s+(?P<text>\S.*)")
REQUIRED = "required"


@dataclass(frozen=True)
class Setting:
    """A field of a dataclass.

    default:  as the source has it, or "required"
    switch:   whether the field is true or false
    meaning:  from the class's docstring
    """

    name: str
    default: str
    switch: bool = False
    meaning: str = ""


@dataclass(frozen=True)
class Description:
    """An object.

    what:        its first line; of a probe that of its file, which is the question that the probe answers
    details:     its docstring
    by_default:  of a probe: whether `mesascope run` includes it without `-p`
    """

    what: str
    settings: tuple[Setting, ...] = ()
    details: str = ""
    by_default: bool = True


def describe(target: str) -> Description:
    """The object at "module:name", without importing it. `what` says so where the source cannot be found."""
    module, _, name = target.partition(":")
    tree = _source(module)
    nodes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    if name not in nodes:
        return Description(f"cannot be found: {target}")
    details = ast.get_docstring(nodes[name]) or ""
    is_probe = "Probe" in (ast.unparse(base) for base in getattr(nodes[name], "bases", ()))
    about = ast.get_docstring(tree) if is_probe else details
    body = dict(_assignments(nodes[name], nodes))
    meanings = read_meanings(details)
    settings = tuple(
        Setting(field, _default(line), ast.unparse(line.annotation) == "bool", meanings.get(field, ""))
        for field, line in body.items()
        if "ClassVar" not in ast.unparse(line.annotation)
    )
    by_default = _default(body["by_default"]) == "True" if "by_default" in body else True
    return Description((about or "").partition("\n")[0], settings, details, by_default)


def class_settings(kind: type) -> tuple[Setting, ...]:
    """The settings of an imported dataclass."""
    types, meanings = get_type_hints(kind), read_meanings(inspect.getdoc(kind) or "")
    return tuple(
        Setting(
            field.name,
            REQUIRED if field.default is MISSING else str(field.default),
            types[field.name] is bool,
            meanings.get(field.name, ""),
        )
        for field in fields(kind)
    )


def read_meanings(docstring: str) -> dict[str, str]:
    """What a docstring says of each field, in lines `name:  meaning` or `one, other:  meaning` and lines below them."""
    found: dict[str, str] = {}
    names: list[str] = []
    for line in docstring.splitlines():
        if match := _MEANING.match(line):
            names = match["names"].split(", ")
            found |= dict.fromkeys(names, match["text"])
        elif names and line.startswith(" "):
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
        else:
            names = []
    return found


def _source(module: str) -> ast.Module:
    try:
        spec = find_spec(module)
    except (ImportError, ValueError):
        spec = None
    if spec is None or spec.origin is None:
        return ast.Module([], [])
    return ast.parse(Path(spec.origin).read_text(encoding="utf-8"))


def _assignments(node: ast.AST, others: Mapping[str, Any]) -> Iterator[tuple[str, ast.AnnAssign]]:
    """Annotated names of a class and, before them, of its bases in the same file."""
    if not isinstance(node, ast.ClassDef):
        return
    for base in node.bases:
        if isinstance(base, ast.Name) and base.id in others:
            yield from _assignments(others[base.id], others)
    for line in node.body:
        if isinstance(line, ast.AnnAssign):
            yield ast.unparse(line.target), line


def _default(line: ast.AnnAssign) -> str:
    return ast.unparse(line.value).strip("'") if line.value else REQUIRED
