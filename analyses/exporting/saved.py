"""The reports that are exported, and the folders where they lie."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...data.errors import UsageError
from ..reports.report import Report


@dataclass(frozen=True)
class Saved:
    """A report, and its folder; None where it is only in memory."""

    report: Report
    folder: Path | None = None


def saved(given: Any) -> Saved:
    """A report, or the folder of one. UsageError names the file that is missing or damaged."""
    if isinstance(given, Report):
        return Saved(given)
    if isinstance(given, str | Path):
        return Saved(Report.load(given), Path(given))
    raise UsageError(f"export: a {type(given).__name__}; expected a report, or the folder of a saved one")


def without_members(found: Sequence[Saved]) -> list[Saved]:
    """The reports that are no part of one over several checkpoints among them."""
    parts = {
        (family.report.probe, member["label"], member["key"]) for family in found for member in family.report.members
    }
    return [one for one in found if (one.report.probe, one.report.label, one.report.key) not in parts]


def distinct(found: Iterable[Saved]) -> list[Saved]:
    """Each report once. UsageError for two of one key that say different things: one of them was edited."""
    kept: dict[tuple[str, str, str], Saved] = {}
    for one in found:
        first = kept.setdefault((one.report.probe, one.report.label, one.report.key), one)
        if first.report.record() != one.report.record():
            raise UsageError(
                f"two different reports have the key {one.report.key}: {_where(first)} and {_where(one)}; expected one."
                " `mesascope verify` says which of them was edited"
            )
    return list(kept.values())


def _where(one: Saved) -> str:
    return f"{one.report.label} in memory" if one.folder is None else str(one.folder)
