"""What a shell suggests for the value of an argument or an option, by its name. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import click
from click.shell_completion import CompletionItem

from ...models.opening.catalogue import LAYOUTS, find, read_header, shipped
from ...probes import registered
from ..exporting.places import PLACES
from .run_options import ALL_PROBES

LISTS = ("probes", "checkpoints", "tasks", "layouts", "recipes", "revisions")
FORMATS = ("pdf", "svg", "png")
SHELLS = ("bash", "zsh", "fish")
ENGINES = ("local", "inline", "slurm", "ray")
SEVERAL = {"probe", "revisions", "formats"}
"""Of these there may be several, separated by commas."""
FOLDERS = {"report", "reports", "output_dir", "checkpoints"}
FILES = {"models", "layout", "model_config", "config", "source", "target", "output", "weights", "predictor"}
"""Of these the shell suggests folders, or files; files of settings, too, some of which name one."""


def suggest(context: click.Context, parameter: click.Parameter, typed: str) -> list[CompletionItem]:
    """The words that go on as what is typed does, and the paths that the shell itself suggests."""
    name = parameter.name or ""
    before, comma, begun = typed.rpartition(",") if name in SEVERAL else ("", "", typed)
    words = _WORDS[name](context) if name in _WORDS else ()
    found = [CompletionItem(f"{before}{comma}{word}") for word in words if word.startswith(begun)]
    paths = "dir" if name in FOLDERS else "file" if name in FILES or parameter.metavar is None else ""
    return [CompletionItem(typed, type=paths), *found] if paths else found  # bash forgets what stands before a path


def _revisions(context: click.Context) -> Iterable[str]:
    """Seeds, steps and checkpoints of the shipped names before it."""
    before = (*(context.params.get("models") or ()), *context.args)  # behind an option click has not read them
    names = [name for name in before if name in shipped()]
    members = [member for name in names for member in read_header(find(name)).members]
    found = [*(f"seed{member.seed}" for member in members), *(f"step{member.step}" for member in members)]
    return dict.fromkeys(["all", *found, *(member.revision for member in members)])


def _recipes(context: click.Context) -> Iterable[str]:
    from ..training.recipes import RECIPES

    return RECIPES


def _papers(context: click.Context) -> Iterable[str]:
    from ..reproduction.papers import PAPERS

    return PAPERS


_WORDS: dict[str, Callable[[click.Context], Iterable[str]]] = {
    "models": lambda _: shipped(),
    "model": lambda _: shipped(),
    "probe": lambda _: [*registered(), ALL_PROBES],
    "revisions": _revisions,
    "recipe": _recipes,
    "paper": _papers,
    "layout": lambda _: LAYOUTS,
    "what": lambda _: LISTS,
    "to": lambda _: PLACES,
    "formats": lambda _: FORMATS,
    "engine": lambda _: ENGINES,
    "shell": lambda _: SHELLS,
}
