"""The overview that a command leaves in its output folder. Needs no torch."""

from __future__ import annotations

from pathlib import Path

from ...data.errors import UsageError
from ..reports.index_page import write_index
from .terminal import warn


def kept_index(out: Path) -> Path | None:
    """The overview of the output folder, up to date. The reports are there, with or without it."""
    try:
        return write_index(out)
    except UsageError as error:
        warn(str(error))
        return None
