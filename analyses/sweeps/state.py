"""What a sweep leaves in its output folder beside reports: what was asked, what failed, what does not apply.

Finished report folders are the state. Everything below `OUT/.sweep` says what they cannot say; nothing there says that
work has begun, so nothing has to be repaired after a kill. Needs no torch.
"""

from __future__ import annotations

import hashlib
import socket
from collections import ChainMap
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal

from ...data.errors import UsageError
from ...data.recipe import canonical_json
from ..reports.digests import REPORT
from ..reports.records import json_value
from .items import Item
from .notes import read_note, write_note, writing

PLAN, IDENTICAL = "plan", "identical"
State = Literal["done", "failed", "pending", "identical"]
Reports = Mapping[str, str | None]
"""The folder of each probe's report below the output folder; None where the probe does not apply."""
NOTHING: Reports = MappingProxyType({})


def digest_of(asked: Mapping[str, Any]) -> str:
    """The name of what is asked of every item: probes, settings, seed and the like."""
    return hashlib.sha256(canonical_json(json_value(asked)).encode()).hexdigest()[:8]


@dataclass(frozen=True)
class Request:
    """What was asked of which items. The names of its probes stand in `asked["probes"]`."""

    asked: Mapping[str, Any]
    items: tuple[Item, ...]

    @property
    def digest(self) -> str:
        return digest_of(self.asked)


@dataclass(frozen=True)
class Failure:
    """Why an item has no report.

    kind:      refused, usage, output, error, memory, killed or timeout
    sentence:  for people
    signal:    that ended the process
    log:       what the process wrote
    """

    kind: str
    sentence: str
    traceback: str = ""
    attempts: int = 1
    host: str = field(default_factory=socket.gethostname)
    signal: int | None = None
    log: str | None = None


@dataclass(frozen=True)
class Skipped:
    """A probe that does not apply to a checkpoint, and why."""

    probe: str
    label: str
    reason: str


class SweepFolder:
    """The notes of sweeps in an output folder. Nothing is made before something is written."""

    def __init__(self, out: str | Path) -> None:
        self.out = Path(out)
        self.folder = self.out / ".sweep"

    # -- the plan --

    def amend(self, items: Sequence[Item], asked: Mapping[str, Any]) -> str:
        """Add what is asked of these items to the plan, and keep what stands there. Returns the digest of `asked`.

        Each call has a file of its own, so that of two sweeps at the same moment neither loses what the other adds.
        """
        before = self._planned()
        for path in (path for path, request in before.items() if request is None):
            with writing(self.out):
                path.unlink(missing_ok=True)
        digest = digest_of(asked)
        planned = {item for one in before.values() if one and one.digest == digest for item in one.items}
        if new := tuple(item for item in dict.fromkeys(items) if item not in planned):
            request = Request(json_value(asked), new)
            value = {"digest": digest, **asdict(request)}
            self._write(Path(PLAN, f"{len(before):04}-{digest_of(value)}.json"), value)
        return digest

    def plan(self) -> tuple[Request, ...]:
        """What was asked so far. UsageError where nothing was, or nobody can read it."""
        found = self._planned()
        bad = [path for path, request in found.items() if request is None]
        if bad or not found:
            path, what = (bad[0], "damaged") if bad else (self.folder / PLAN, "no such folder")
            raise UsageError(
                f"{path}: {what}; expected the output folder of `mesascope sweep`; run the sweep again to write it"
            )
        requests: dict[str, Request] = {}
        for one in filter(None, found.values()):
            earlier = requests[one.digest].items if one.digest in requests else ()
            requests[one.digest] = Request(one.asked, tuple(dict.fromkeys((*earlier, *one.items))))
        return tuple(requests.values())

    def _planned(self) -> dict[Path, Request | None]:
        """What each file of the plan asks, in the order in which they were written; None for one that is damaged."""
        return {path: _request(read_note(path)) for path in sorted((self.folder / PLAN).glob("*.json"))}

    # -- what became of items --

    def finish(self, item: Item, asked: str, reports: Reports) -> None:
        """Note that every probe has a report or does not apply. An earlier failure of the item is forgotten.

        asked:  the digest that `amend` returned
        """
        note = {"item": item.as_dict(), "reports": dict(reports)}
        if read_note(self.folder / self._done(item, asked)) != note:  # found again: nothing to write
            self._write(self._done(item, asked), note)
        self.forget(item, asked)

    def reports_of(self, item: Item, asked: str) -> Reports | None:
        """The reports of a finished item; None if it is not finished, or a report is no longer there."""
        return self._reports_in(self._done(item, asked))

    def _reports_in(self, note: Path) -> Reports | None:
        reports = (read_note(self.folder / note) or {}).get("reports")
        if not isinstance(reports, dict) or not all(isinstance(place, str | None) for place in reports.values()):
            return None
        places = (place for place in reports.values() if place is not None)
        return reports if all((self.out / place / REPORT).is_file() for place in places) else None

    def fail(self, item: Item, asked: str, failure: Failure, reports: Reports = NOTHING) -> None:
        """Note that what is asked of an item has failed, whatever became of it before.

        reports:  of those of its probes that did not fail
        """
        note = {**asdict(failure), "log": self._below(failure.log), "reports": dict(reports)}
        self._write(self._failed(item, asked), {"item": item.as_dict(), **note})
        with writing(self.out):
            (self.folder / self._done(item, asked)).unlink(missing_ok=True)

    def forget(self, item: Item, asked: str) -> None:
        """Forget that an item failed."""
        with writing(self.out):
            (self.folder / self._failed(item, asked)).unlink(missing_ok=True)

    def failure_of(self, item: Item, asked: str) -> Failure | None:
        note = read_note(self.folder / self._failed(item, asked)) or {}
        for name in ("item", "reports"):  # one for people, one for `reports_beside`
            note.pop(name, None)
        try:
            failure = Failure(**note) if all(isinstance(note[name], str) for name in ("kind", "sentence")) else None
            return replace(failure, log=str(self.out / failure.log)) if failure and failure.log else failure
        except (KeyError, TypeError):
            return None

    def reports_beside(self, item: Item, asked: str) -> Reports:
        """The reports of a failed item, of those of its probes that did not fail."""
        return self._reports_in(self._failed(item, asked)) or {}

    def skip(self, key: str, probe: str, label: str, reason: str) -> None:
        """Note that a probe does not apply, under the key that its report would have."""
        self._write(self._skipped(key), {"probe": probe, "label": label, "reason": reason})

    def skipped(self, key: str) -> Skipped | None:
        note = read_note(self.folder / self._skipped(key)) or {}
        try:
            return Skipped(**note) if all(isinstance(value, str) for value in note.values()) else None
        except TypeError:
            return None

    def log_of(self, item: Item) -> Path:
        """The file for what an item's process writes. Its folder is there."""
        logs = self.folder / "logs"
        with writing(self.out):
            logs.mkdir(parents=True, exist_ok=True)
        return logs / f"{item.name}.log"

    # -- identical checkpoints --

    def note_identical(self, groups: Iterable[Sequence[Item]]) -> None:
        """Note of each group that all are the same checkpoint as its first. What was noted of other items is kept."""
        for first, *others in groups:
            with writing(self.out):
                (self.folder / self._same(first)).unlink(missing_ok=True)
            for item in others:
                note = {"item": item.as_dict(), "same_as": first.as_dict()}
                if read_note(self.folder / self._same(item)) != note:
                    self._write(self._same(item), note)

    def identical(self) -> dict[Item, Item]:
        """The measured checkpoint that each of the others is the same as."""
        notes = [read_note(path) or {} for path in sorted((self.folder / IDENTICAL).glob("*.json"))]
        return dict(pair for note in notes if (pair := _pair(note)))

    # -- files --

    def _below(self, log: str | None) -> str | None:
        """A log as this folder's notes name it, which holds where the folder has moved to, too."""
        inside = log is not None and Path(log).is_relative_to(self.out)
        return Path(log).relative_to(self.out).as_posix() if log and inside else log

    def _done(self, item: Item, asked: str) -> Path:
        return Path("done", f"{item.name}.{asked}.json")

    def _failed(self, item: Item, asked: str) -> Path:
        return Path("failed", f"{item.name}.{asked}.json")

    def _same(self, item: Item) -> Path:
        return Path(IDENTICAL, f"{item.name}.json")

    def _skipped(self, key: str) -> Path:
        return Path("not-applicable", f"{key}.json")

    def _write(self, place: str | Path, value: Any) -> None:
        write_note(self.out, self.folder / place, value)


def _request(record: Mapping[str, Any] | None) -> Request | None:
    """The request of a record; None for what is none, and where what was asked is not what the digest says."""
    try:
        given = record or {}
        request = Request(given["asked"], tuple(map(Item.from_dict, given["items"])))
        return request if isinstance(request.asked, dict) and request.digest == given["digest"] else None
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def _pair(note: Mapping[str, Any]) -> tuple[Item, Item] | None:
    try:
        return Item.from_dict(note["item"]), Item.from_dict(note["same_as"])
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


# -- status ------------------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Row:
    """What became of one item.

    reports:  of finished requests; of a failed item those of the probes that did not fail
    failure:  of a failed item
    same_as:  another one with the same weights: of an identical item that which is measured in its place
    """

    item: Item
    state: State
    reports: Reports = field(default_factory=dict)
    failure: Failure | None = None
    same_as: Item | None = None

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def status(out: str | Path) -> list[Row]:
    """How far sweeps are, from their output folder alone: also while they run, and from another machine.

    One row an item, in the order of the plan. An item is done when every request that names it has all its reports.
    Nothing is written. UsageError for a folder without a sweep.
    """
    folder = SweepFolder(out)
    asked: dict[Item, list[str]] = {}
    for request in folder.plan():
        for item in request.items:
            asked.setdefault(item, []).append(request.digest)
    identical = folder.identical()
    return [_row(folder, item, digests, identical) for item, digests in asked.items()]


def _row(folder: SweepFolder, item: Item, digests: list[str], identical: Mapping[Item, Item]) -> Row:
    found = [folder.reports_of(item, digest) for digest in digests]
    reports = {probe: place for one in found for probe, place in (one or {}).items()}
    if None not in found:
        return Row(item, "done", reports, same_as=identical.get(item))
    if failures := [failure for digest in digests if (failure := folder.failure_of(item, digest))]:
        beside = [folder.reports_beside(item, digest) for digest in digests]
        return Row(item, "failed", dict(ChainMap(reports, *map(dict, beside))), failures[0])
    if item in identical:
        return Row(item, "identical", reports, same_as=identical[item])
    return Row(item, "pending", reports)
