"""`mesascope list`: what there is, read from headers and sources, so that nothing heavy is imported."""

from __future__ import annotations

import ast
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ...data.errors import UsageError
from ...models.opening.catalogue import HAIKU, LANGUAGE_FORMAT, LAYOUTS, MODEL_ARGS, find, read_header, shipped
from ...probes import registered

Row = dict[str, Any]
TASKS = {
    "linear-regression": "mesascope.data.regression:LinearRegression",
    "other-distributions": "mesascope.data.regression:OtherDistributions",
    "file": "mesascope.data.tasks:load_tasks",
}
"""Families of tasks, `name -> "module:object"`, and how one's own are read."""


def rows(what: str, model: str | None = None) -> list[Row]:
    """The rows of one list."""
    if (what == "revisions") != (model is not None):
        raise UsageError("list revisions MODEL: only revisions are of a model, and they need one")
    return _revisions(model) if model is not None else _LISTS[what]()


def describe(target: str) -> Row:
    """What the sources say of "module:object", without importing it: one line, its settings, its docstring.

    The line is the file's first where the object is a probe (the question it answers), else the object's own.
    """
    module, _, name = target.partition(":")
    lost: Row = {"what": f"cannot be found: {target}", "settings": {}, "details": ""}
    try:
        spec = find_spec(module)
    except ImportError:
        return lost
    if spec is None or spec.origin is None:
        return lost
    tree = ast.parse(Path(spec.origin).read_text(encoding="utf-8"))
    nodes = {node.name: node for node in tree.body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    if name not in nodes:
        return lost
    details = ast.get_docstring(nodes[name]) or ""
    settings = _settings(nodes[name], nodes)
    is_probe = "Probe" in (ast.unparse(base) for base in getattr(nodes[name], "bases", ()))
    about = ast.get_docstring(tree) if is_probe else details
    return {"what": (about or "").partition("\n")[0], "settings": settings, "details": details}


def _settings(node: ast.AST, others: Mapping[str, ast.ClassDef | ast.FunctionDef]) -> dict[str, str]:
    """Annotated fields of a dataclass and of its bases in the same file, except class variables."""
    if not isinstance(node, ast.ClassDef):
        return {}
    found: dict[str, str] = {}
    for base in node.bases:
        if isinstance(base, ast.Name) and base.id in others:
            found |= _settings(others[base.id], others)
    for line in node.body:
        if not isinstance(line, ast.AnnAssign) or "ClassVar" in ast.unparse(line.annotation):
            continue
        found[ast.unparse(line.target)] = ast.unparse(line.value).strip("'") if line.value else "required"
    return found


def _described(table: Mapping[str, str]) -> list[Row]:
    return [{"name": name, **describe(target)} for name, target in sorted(table.items())]


def _checkpoints() -> list[Row]:
    found: list[Row] = []
    for name, path in shipped().items():
        header = read_header(path)
        config, language = header.config, header.format == LANGUAGE_FORMAT
        found.append(
            {
                "name": name,
                "layers": config.get("n_layers", 1),
                "tied": config.get("tied", not language),
                "heads": config.get("n_heads", 1),
                "attention": "softmax" if language or config.get("softmax") else "linear",
                "mlps": config.get("d_mlp") is not None,
                "reads": f"{config['d_vocab']} tokens" if language else f"x of width {config['d_in']}",
                "seeds": sorted({member.seed for member in header.members}),
                "steps": sorted({member.step for member in header.members}),
            }
        )
    return found


def _layouts() -> list[Row]:
    keys = {HAIKU: list(MODEL_ARGS)}
    return [{"name": name, "what": what, "model_args": keys.get(name, [])} for name, what in LAYOUTS.items()]


def _tasks() -> list[Row]:
    """Tasks to examine models by, and what language models are trained on."""
    from ..training.recipes import LANGUAGES

    return _described({**TASKS, **LANGUAGES})


def _recipes() -> list[Row]:
    from ..training.recipes import RECIPES

    return [{"name": name, "what": str(recipe)} for name, recipe in RECIPES.items()]


def _revisions(model: str) -> list[Row]:
    if model not in shipped() and not Path(model).exists():
        return _hub_revisions(model)
    members = read_header(find(model)).members
    return [{"revision": member.revision, "seed": member.seed, "step": member.step} for member in members]


def _hub_revisions(model: str) -> list[Row]:
    """Of a hub model: what the local cache holds, and the training steps that the hub is known to publish."""
    from ...models.opening.bridge import known_steps
    from ...models.opening.pretrained import cached_revisions

    cached = cached_revisions(model)
    names = dict.fromkeys([*cached, *(f"step{step}" for step in known_steps(model))])
    if not names:
        find(model)  # says that it is no file and no shipped name, and which names are near
    return [{"revision": name, "cached": name in cached} for name in names]


_LISTS: dict[str, Callable[[], list[Row]]] = {
    "probes": lambda: _described(registered()),
    "checkpoints": _checkpoints,
    "tasks": _tasks,
    "layouts": _layouts,
    "recipes": _recipes,
}
