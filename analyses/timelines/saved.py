"""A timeline that was made, read again: without anything that makes one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...data.errors import UsageError
from ..reports.record import read_json

FORMAT = "mesascope-timeline-1"
RECORD, PAGE = "timeline.json", "timeline.html"


def load(folder: Path) -> dict[str, Any]:
    """The record of a timeline. UsageError for anything else."""
    record = read_json(folder / RECORD)
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise UsageError(f"{folder / RECORD}: its format is not {FORMAT!r}; make the timeline again")
    return record
