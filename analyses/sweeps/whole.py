"""A sweep that is finished as a whole, found again without torch.

Its note is a shortcut and no state: it counts only while everything is as it was, what was asked, the checkpoints, the
files that settings name, the sources, and every file of the reports. Otherwise the sweep looks at each item, and finds
the same.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from ...data.documents import documents_sha256
from ...data.errors import MesascopeError
from ...data.recipe import canonical_json
from ...probes import PROBES, registered
from ..reports.code import all_sources_sha256, source_state
from ..reports.digests import ARRAYS, REPORT, TABLE, file_sha256
from ..reports.records import json_value
from .identity import identity_of
from .items import Item
from .notes import read_note, write_note
from .results import SweepResult
from .state import Row

SEALED = (REPORT, TABLE, ARRAYS, "timeline.json")


class WholeSweep:
    """A sweep as it was asked for, and what its output folder says of it.

    out:    the output folder
    asked:  everything that names checkpoints and probes, and that can change a report
    items:  the checkpoints
    how:    they are opened, as for `identity_of`
    """

    def __init__(
        self, out: str | Path, asked: Mapping[str, Any], items: Sequence[Item], how: Mapping[str, Any]
    ) -> None:
        self.out = Path(out)
        self.path: Path | None = None
        """Of the note; None where nothing must be reused, and where nobody knows what a setting names."""
        state, files = source_state(), _contents(asked)
        if not state["dirty"] and files is not None:
            identities = [identity_of(item, **how).key for item in items]
            sources = [state["commit"], all_sources_sha256(), registered()]
            self.path = self.out / ".sweep" / "whole" / f"{_digest([asked, files, identities, sources])}.json"

    def found(self) -> SweepResult | None:
        """What became of the sweep, if all of it is there and unchanged."""
        note = read_note(self.path) if self.path else None
        try:
            if not note or any(_seal(self.out / place) != seal for place, seal in note["sealed"].items()):
                return None
            reports, timelines = (tuple(self.out / place for place in note[of]) for of in ("reports", "timelines"))
            return SweepResult(tuple(map(_row, note["rows"])), reports, timelines, note["not_applicable"])
        except (OSError, KeyError, TypeError, ValueError, AttributeError):
            return None

    def keep(self, result: SweepResult) -> None:
        """Note a sweep that is finished. Of one with failures, and of other packages' probes, nothing is noted."""
        probes = {name for row in result.rows for name in row.reports}
        if self.path is None or result.failed or result.pending or not probes <= PROBES.keys():
            return
        over, timelines = (
            [folder.relative_to(self.out).as_posix() for folder in folders]
            for folders in (result.reports, result.timelines)
        )
        places = {*over, *timelines, *(place for row in result.rows for place in row.reports.values() if place)}
        note = {
            "rows": [row.as_dict() for row in result.rows],
            "reports": over,
            "timelines": timelines,
            "not_applicable": result.not_applicable,
            "sealed": {place: _seal(self.out / place) for place in sorted(places)},
        }
        write_note(self.out, self.path, note)


def _contents(asked: Mapping[str, Any]) -> list[str] | None:
    """Digests of the files that settings name; None where one may name something that is not here, such as a hub id."""
    words = [word for word in _values(asked.get("settings", {})) if isinstance(word, str | Path)]
    try:
        if any("/" in str(word) and not Path(word).exists() for word in words):
            return None
        return [documents_sha256(word) for word in words if Path(word).exists()]
    except (MesascopeError, OSError, ValueError):
        return None


def _values(given: Any) -> Iterable[Any]:
    if isinstance(given, Mapping | list | tuple):
        for value in given.values() if isinstance(given, Mapping) else given:
            yield from _values(value)
    else:
        yield given


def _seal(folder: Path) -> str:
    """Digest of a report or a timeline: of the files with its numbers and words, and of the names of all others."""
    names = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))
    return _digest([names, *(file_sha256(folder / name) for name in SEALED if name in names)])


def _row(record: Mapping[str, Any]) -> Row:
    same = record["same_as"] and Item.from_dict(record["same_as"])
    return Row(Item.from_dict(record["item"]), record["state"], record["reports"], same_as=same)


def _digest(value: Any) -> str:
    return hashlib.sha256(canonical_json(json_value(value)).encode()).hexdigest()[:16]
