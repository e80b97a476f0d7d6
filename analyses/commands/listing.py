"""`mesascope list`: what there is, read from headers and sources, so that nothing heavy is imported."""

from __future__ import annotations

import ast
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ...data.errors import UsageError, nearest
from ...models.opening.catalogue import (
    COPY_FORMAT,
    FORMAT,
    HAIKU,
    LANGUAGE_FORMAT,
    LAYOUTS,
    MODEL_ARGS,
    SOFTMAX_FORMAT,
    Header,
    find,
    read_header,
    shipped,
)
from ...probes import registered
from .source_reading import Description, describe

Row = dict[str, Any]
TASKS = {
    "copying": "mesascope.data.copying:CopyTask",
    "gaussian-regression": "mesascope.data.regression:GaussianRegression",
    "linear-regression": "mesascope.data.regression:LinearRegression",
    "other-distributions": "mesascope.data.regression:OtherDistributions",
    "file": "mesascope.data.tasks:load_tasks",
    "sine-regression": "mesascope.data.sine:SineRegression",
    "softmax-regression": "mesascope.data.softmax_regression:SoftmaxRegression",
    "softmax-regression-file": "mesascope.data.softmax_regression:load_softmax_tasks",
}
"""Families of tasks, `name -> "module:object"`, and how tasks of a file are read."""


def rows(what: str, model: str | None = None) -> list[Row]:
    """The rows of one list. UsageError for a list that does not exist, and for a model missing or too many."""
    if what not in (*_LISTS, "revisions"):
        raise UsageError(f"list: {what!r} is not known; {nearest(what, (*_LISTS, 'revisions'))}")
    if (what == "revisions") != (model is not None):
        raise UsageError(f"list {what}: expected `list revisions MODEL`; other lists take no MODEL")
    return _revisions(model) if model is not None else _LISTS[what]()


def _probes() -> list[Row]:
    found = {name: describe(target) for name, target in sorted(registered().items())}
    return [{"name": name, "by_default": probe.by_default, **_described(probe)} for name, probe in found.items()]


def _described(thing: Description) -> Row:
    settings = {setting.name: _value(setting.default) for setting in thing.settings}
    return {"what": thing.what, "settings": settings, "details": thing.details}


def _value(source: str) -> Any:
    """The default that a source spells; words stay words."""
    try:
        return ast.literal_eval(source)
    except (ValueError, SyntaxError):
        return source


def _checkpoints() -> list[Row]:
    found: list[Row] = []
    for name, path in shipped().items():
        header = read_header(path)
        config, regression = header.config, header.format == FORMAT
        attention = "linear" if regression and not config.get("softmax") else "softmax"
        if config.get("uniform_attention"):
            attention = "uniform"
        found.append(
            {
                "name": name,
                "layers": config.get("n_layers", 1),
                "tied": config.get("tied", header.format not in (LANGUAGE_FORMAT, COPY_FORMAT)),
                "heads": config.get("n_heads", 1),
                "attention": attention + ", causal" * (regression and config.get("causal", False)),
                "mlps": config.get("d_mlp") is not None,
                "reads": _reads(header),
                "seeds": sorted({member.seed for member in header.members}),
                "steps": sorted({member.step for member in header.members}),
            }
        )
    return found


def _reads(header: Header) -> str:
    if header.format == LANGUAGE_FORMAT:
        return f"{header.config['d_vocab']} tokens"
    if header.format == COPY_FORMAT:
        return f"{header.config['n_ctx']} words, of {header.config['d_vocab']}"
    return f"{'rows of A' if header.format == SOFTMAX_FORMAT else 'x'} of width {header.config['d_in']}"


def _layouts() -> list[Row]:
    keys = {HAIKU: list(MODEL_ARGS)}
    return [{"name": name, "what": what, "model_args": keys.get(name, [])} for name, what in LAYOUTS.items()]


def _tasks() -> list[Row]:
    """Tasks to examine models by, and what language models are trained on."""
    from ..training.recipe_kinds import LANGUAGES

    return [{"name": name, **_described(describe(target))} for name, target in sorted({**TASKS, **LANGUAGES}.items())]


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
    from ...models.opening.hub_cache import cached_revisions

    cached = cached_revisions(model)
    names = dict.fromkeys([*cached, *(f"step{step}" for step in known_steps(model))])
    if not names:
        find(model)  # says that it is no file and no shipped name, and which names are near
    return [{"revision": name, "cached": name in cached} for name in names]


_LISTS: dict[str, Callable[[], list[Row]]] = {
    "probes": _probes,
    "checkpoints": _checkpoints,
    "tasks": _tasks,
    "layouts": _layouts,
    "recipes": _recipes,
}
