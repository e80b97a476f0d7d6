"""Where reports are exported to, and which options belong there."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ...data.errors import UsageError

PLACES = ("wandb", "markdown", "latex")
TEXTS = ("markdown", "latex")
OPTIONS = {"measures": TEXTS, "output": TEXTS, "force": TEXTS, "project": ("wandb",), "offline": ("wandb",)}
"""Where each option belongs."""


def check(to: str, options: Mapping[str, object]) -> None:
    """UsageError for a place that is not known, and for an option that belongs to another one."""
    if to not in PLACES:
        raise UsageError(f"cannot export to {to!r}; expected {in_words(PLACES)}")
    for name, value in options.items():
        if value and to not in OPTIONS[name]:
            raise UsageError(f"export to {to}: {name} belongs to {' and '.join(OPTIONS[name])}; leave it out")


def in_words(names: Sequence[str]) -> str:
    """`a, b or c`."""
    return f"{', '.join(names[:-1])} or {names[-1]}"
