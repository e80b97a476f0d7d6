"""The exceptions that mesascope raises on purpose, as one tree.

    MesascopeError
    ├── UsageError            bad arguments, settings or output folder                exit code 2
    │   ├── TaskError         inputs that do not fit the model or the probe
    │   └── OutputError       an output folder that cannot be written
    └── CheckpointRefused     a checkpoint that is missing, damaged or unsupported   exit code 3

Every message is one line: what is wrong and the value seen; what was expected; the likely cause; what to try next.
"""

from __future__ import annotations

import difflib
import os
from collections.abc import Iterable
from pathlib import Path


class MesascopeError(Exception):
    """Base of everything that mesascope raises on purpose."""

    exit_code: int = 1


class UsageError(MesascopeError):
    """Arguments, settings or an output folder that mesascope cannot use as given."""

    exit_code = 2


class TaskError(UsageError):
    """Inputs (tasks, tokens) that do not fit the model, the probe or their file format."""


class OutputError(UsageError):
    """An output folder that cannot be written. What else is to be written there fails, too."""


class CheckpointRefused(MesascopeError):
    """A checkpoint that is missing, damaged, or in a form that mesascope does not open."""

    exit_code = 3


MOST_LISTED = 40  # names; some families have hundreds


def nearest(name: str, valid: Iterable[str]) -> str:
    """`did you mean …?` with the closest valid names, or `known: …` with the valid names if none is close."""
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    more = f", and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
    return f"known: {', '.join(names[:MOST_LISTED])}{more}" if names else "there are no valid names"


def not_a_file(path: Path) -> str:
    """What to say of a path that is no regular file."""
    if os.path.isdir(path):  # unlike Path.is_dir, False for what cannot be a path at all
        return f"{path}: a directory; expected a file"
    return f"{path}: no such file; check the path"
