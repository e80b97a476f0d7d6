"""Completion in shells: the script that a shell runs at its start, and the answers that the script asks for."""

from __future__ import annotations

from click.shell_completion import get_completion_class, shell_complete

from ...data.errors import MesascopeError, UsageError, nearest
from .arguments import MESASCOPE
from .suggesting import SHELLS

VARIABLE = "_MESASCOPE_COMPLETE"
"""Set by the script, to the shell that asks."""


def script(shell: str) -> str:
    """The script for a shell."""
    kind = get_completion_class(shell) if shell in SHELLS else None
    if kind is None:
        raise UsageError(f"completion: shell {shell!r} is not known; {nearest(shell, SHELLS)}")
    return kind(MESASCOPE, {}, "mesascope", VARIABLE).source()


def answer(instruction: str) -> int:
    """Print what goes on as the words in the environment do; nothing after words that mesascope does not know."""
    try:
        return shell_complete(MESASCOPE, {}, "mesascope", VARIABLE, instruction)
    except MesascopeError:
        return 1
