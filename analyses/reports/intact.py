"""Whether a saved report is letter by letter what mesascope wrote, without reading its numbers. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .digests import ARRAYS, FIELD, REPORT, TABLE, file_sha256, untouched
from .record import FORMAT
from .records import loads

_BEGINS = f'{{\n  "format": "{FORMAT}",\n'
_PROVENANCE = ',\n  "provenance": '
"""What begins the last field before the digests."""


def made_with(folder: Path) -> Mapping[str, Any] | None:
    """The provenance of a report none of whose files was changed; None where one was, or is missing: `Record.load` says
    what is wrong, or that nothing is.
    """
    try:
        text = (folder / REPORT).read_text(encoding="utf-8")
        if not text.startswith(_BEGINS) or not untouched(text):
            return None
        end = loads(f'{{"provenance": {text.rpartition(_PROVENANCE)[2]}')
        same = all(end[FIELD][name] == file_sha256(folder / name) for name in (TABLE, ARRAYS))
        return end["provenance"] if same and "dirty" in end["provenance"]["environment"] else None
    except (OSError, ValueError, KeyError, TypeError):
        return None
