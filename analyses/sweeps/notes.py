"""Small files of JSON below `OUT/.sweep`: written in one step, and nothing where they are damaged."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...data.writing import write_atomically, writing
from ..reports.records import dumps, json_value, loads


def read_note(path: Path) -> dict[str, Any] | None:
    """The object in a file; None if it is missing, damaged or something else."""
    try:
        found = loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def write_note(out: Path, path: Path, value: Any) -> None:
    with writing(out):
        write_atomically(path, (dumps(json_value(value)) + "\n").encode())
