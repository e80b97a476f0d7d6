"""What can go wrong, as one tree of exceptions.

    MesascopeError
    ├── UsageError            bad arguments, settings or output folder          exit code 2
    │   └── TaskError         inputs that do not fit the model or the probe
    └── CheckpointRefused     a file that is not what it should be              exit code 3

Every message is one line: what was wrong, the value seen, what was expected, what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable


class MesascopeError(Exception):
    """Base of everything that mesascope raises on purpose."""

    exit_code: int = 1


class UsageError(MesascopeError):
    """Arguments, settings or an output folder that cannot be used as given."""

    exit_code = 2


class TaskError(UsageError):
    """Inputs (tasks, tokens) that do not fit the model or the probe."""


class CheckpointRefused(MesascopeError):
    """A checkpoint that is missing, damaged, or not what it claims to be."""

    exit_code = 3


MOST_LISTED = 40  # names; some families have hundreds


def nearest(name: str, valid: Iterable[str]) -> str:
    """`did you mean …?` with the closest valid names, or a list of names when none is close."""
    names = sorted(valid)
    close = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    if close:
        return f"did you mean {' or '.join(close)}?"
    more = f", and {len(names) - MOST_LISTED} more" if len(names) > MOST_LISTED else ""
    return f"known: {', '.join(names[:MOST_LISTED])}{more}" if names else "none is known"
