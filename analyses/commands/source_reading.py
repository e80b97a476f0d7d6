"""What the sources say of a probe or a family of tasks, read without importing them: one line, settings, docstring."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields
from importlib.util import find_spec, resolve_name
from pathlib import Path
from typing import get_type_hints

_MEANING = re.compile(r"(?P<names>[a-z]\w*(?:, [a-z]\w*)*):\s+(?P<text>\S.*)")
REQUIRED = "required"
PROBE = "Probe"
_Node = ast.ClassDef | ast.FunctionDef


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
    node = _named(tree).get(name)
    if node is None:
        return Description(f"cannot be found: {target}")
    details = ast.get_docstring(node) or ""
    family = [node, *_ancestors(node, tree, module)]
    is_probe = any(PROBE in map(ast.unparse, getattr(one, "bases", ())) for one in family)
    about = ast.get_docstring(tree) if is_probe else details
    body = {name: line for one in reversed(family) for name, line in _assignments(one)}
    documented = [ast.get_docstring(one) or "" for one in reversed(family)]
    meanings = {name: text for words in documented for name, text in read_meanings(words).items()}
    settings = tuple(
        Setting(field, _default(line), ast.unparse(line.annotation) == "bool", meanings.get(field, ""))
        for field, line in body.items()
        if "ClassVar" not in ast.unparse(line.annotation)
    )
    by_default = _default(body["by_default"]) == "True" if "by_default" in body else True
    return Description((about or "").partition("\n")[0], settings, details, by_default)


def class_settings(kind: type) -> tuple[Setting, ...]:
    """The settings of an imported dataclass."""
    types = get_type_hints(kind)
    documented = [one.__doc__ for one in reversed(kind.__mro__) if "__doc__" in vars(one) and one.__doc__]
    meanings = {name: text for words in documented for name, text in read_meanings(inspect.cleandoc(words)).items()}
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


def _named(tree: ast.Module) -> dict[str, _Node]:
    """Classes and functions of a file."""
    return {node.name: node for node in tree.body if isinstance(node, _Node)}


def _ancestors(node: _Node, tree: ast.Module, module: str) -> Iterator[_Node]:
    """The bases of a class, the nearest first, in its own file and in those that it imports from; none of `Probe`'s."""
    for base in getattr(node, "bases", ()):
        name = ast.unparse(base)
        if name == PROBE:
            continue
        there, home = (module, tree) if name in _named(tree) else _imported(name, tree, module)
        if (found := _named(home).get(name)) is not None:
            yield found
            yield from _ancestors(found, home, there)


def _imported(name: str, tree: ast.Module, module: str) -> tuple[str, ast.Module]:
    """The module that a name is imported from, and its source."""
    for line in tree.body:
        if isinstance(line, ast.ImportFrom) and name in (alias.name for alias in line.names):
            there = resolve_name("." * line.level + (line.module or ""), module.rpartition(".")[0])
            return there, _source(there) if there.startswith("mesascope.") else ast.Module([], [])
    return module, ast.Module([], [])


def _assignments(node: _Node) -> Iterator[tuple[str, ast.AnnAssign]]:
    """Annotated names of a class."""
    for line in node.body if isinstance(node, ast.ClassDef) else ():
        if isinstance(line, ast.AnnAssign):
            yield ast.unparse(line.target), line


def _default(line: ast.AnnAssign) -> str:
    return ast.unparse(line.value).strip("'") if line.value else REQUIRED
