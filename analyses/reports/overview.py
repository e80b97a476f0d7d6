"""Many reports at a glance: one row a checkpoint and probe. Needs no torch.

Of each report only report.json is read, and of one that mesascope wrote and nobody changed only what stands before the
measures: hundreds of reports take a fraction of a second.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from ...data.errors import UsageError
from .digests import REPORT, untouched
from .headline import first_sentence
from .record import FORMAT, Record, damaged, read_text
from .records import loads

_MEASURES = ',\n  "measures": '


@dataclass(frozen=True)
class Row:
    """One report in an overview.

    folder:        where it lies, below the folder that is looked at
    checkpoint:    the checkpoint with its revision, or the family
    revision, seed:  of a single checkpoint
    steps:         of its checkpoints, each once
    checkpoints:   how many it is about
    verdict:       the first sentence of its claim
    key:           of the report
    member_of:     the folder of a report over several checkpoints that this one is part of
    edited:        whether report.json was changed after mesascope wrote it
    problem:       why it cannot be read, and what to do; then all else is empty
    """

    folder: str
    checkpoint: str = ""
    revision: str | None = None
    seed: int | None = None
    steps: tuple[int, ...] = ()
    checkpoints: int = 0
    probe: str = ""
    probe_version: str = ""
    verdict: str = ""
    key: str = ""
    member_of: str | None = None
    edited: bool = False
    problem: str | None = None

    @property
    def steps_in_words(self) -> str:
        """`1300`, or `0 to 4000`."""
        return " to ".join(map(str, dict.fromkeys((self.steps[0], self.steps[-1])))) if self.steps else ""


def overview(folder: str | Path) -> Any:
    """A pandas table of the reports below a folder, a row each: checkpoint, step, probe, verdict and where it lies.

    The members of a report over several checkpoints stand below it and name it (`member_of`). `step` is the last one.
    A report that cannot be read has its `problem` instead. UsageError where there is no such folder.
    """
    import pandas as pd

    records = [{**asdict(row), "step": row.steps[-1] if row.steps else None} for row in rows(Path(folder))]
    names = ["checkpoint", "revision", "seed", "step", "probe", "probe_version", "verdict", "checkpoints", "member_of"]
    table = pd.DataFrame(records, columns=[*names, "key", "folder", "edited", "problem"])
    return table.astype({"seed": "Int64", "step": "Int64"})


def report_folders(root: Path) -> list[Path]:
    """Folders of reports below a folder, without those that are just being written."""
    found = (path.parent for path in root.rglob(REPORT))
    return sorted(path for path in found if not any(part.startswith(".") for part in path.relative_to(root).parts))


def rows(root: Path) -> list[Row]:
    """Every report below a folder: families first, each with its members below it, numbers in their natural order; then
    what cannot be read.
    """
    if not root.is_dir():
        raise UsageError(f"{root}: no such folder; expected one that holds reports")
    found = [_row(root, folder) for folder in report_folders(root)]
    readable = [(row, members) for row, members in found if row.problem is None]
    family: dict[tuple[str, str, str], str] = {}
    for row, members in sorted(readable, key=lambda pair: _place(pair[0])):
        for label, key in members:
            family.setdefault((row.probe, label, key), row.folder)
    placed = (_member(row, family.get((row.probe, row.checkpoint, row.key))) for row, _ in readable)
    return [*_below_their_families(placed), *(row for row, _ in found if row.problem is not None)]


def natural(text: str) -> tuple[Any, ...]:
    """What to sort by so that step2 comes before step10."""
    return tuple(int(part) if part.isdecimal() else part for part in re.split(r"([0-9]+)", text))


def _place(row: Row) -> tuple[Any, ...]:
    return (natural(row.checkpoint), row.probe, row.folder)


def _member(row: Row, family: str | None) -> Row:
    return row if family is None else replace(row, member_of=family)


def _below_their_families(readable: Iterable[Row]) -> Iterator[Row]:
    members: dict[str | None, list[Row]] = defaultdict(list)
    for row in sorted(readable, key=_place):
        members[row.member_of].append(row)
    for row in members[None]:
        yield row
        yield from members.get(row.folder, ())


def _row(root: Path, folder: Path) -> tuple[Row, list[tuple[str, str]]]:
    """The row of a report, and label and key of each of its members."""
    where = folder.relative_to(root).as_posix()
    try:
        return _from_head(where, *head_of(folder))
    except UsageError as error:
        return Row(where, problem=str(error).replace(f"{folder}/", "")), []
    except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
        return Row(where, problem=damaged(Path(REPORT), error)), []


def head_of(folder: Path) -> tuple[Mapping[str, Any], bool]:
    """What stands in a report.json before its measures, and whether it was changed after mesascope wrote it. UsageError
    for a report that cannot be read.
    """
    if (head := _head(read_text(folder / REPORT))) is not None:
        return head, False
    report = Record.load(folder)
    return report.record(), REPORT in report.edited


def _head(text: str) -> Mapping[str, Any] | None:
    """All that stands before the measures in the text of a report.json; None unless mesascope wrote it so."""
    before, found, _ = text.partition(_MEASURES)
    if not found or not untouched(text):
        return None
    head = loads(f"{before}\n}}")
    return head if head.get("format") == FORMAT else None


def _from_head(where: str, head: Mapping[str, Any], edited: bool) -> tuple[Row, list[tuple[str, str]]]:
    sources = head["sources"]
    revision, seed = sources[0]["revision"], sources[0]["seed"]
    alone = len(sources) == 1
    row = Row(
        folder=where,
        checkpoint=str(head["label"]),
        revision=str(revision) if alone and revision is not None else None,
        seed=int(seed) if alone and seed is not None else None,
        steps=tuple(sorted({int(source["step"]) for source in sources if source["step"] is not None})),
        checkpoints=len(sources),
        probe=str(head["probe"]),
        probe_version=str(head["probe_version"]),
        verdict=first_sentence(str(head["claim"]["found"])),
        key=str(head["key"]),
        edited=edited,
    )
    return row, [(str(member["label"]), str(member["key"])) for member in head["members"]]
