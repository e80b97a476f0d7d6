"""The command `mesascope export`: reports in a table for a paper or a page, or as runs at Weights & Biases."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...data.errors import UsageError
from ...data.settings import read_settings
from ..exporting.exporting import exported
from ..exporting.places import OPTIONS, PLACES, check, in_words
from ..exporting.saved import Saved, without_members
from .showing import find_reports, load
from .terminal import printable


@dataclass(frozen=True)
class ExportOptions:
    """Options of `mesascope export`."""

    to: str = ""
    reports: tuple[str, ...] = ()
    measures: tuple[str, ...] = ()
    output: str | None = None
    force: bool = False
    project: str | None = None
    offline: bool = False


def export_command(values: Mapping[str, Any]) -> int:
    """Print what was made, or write it to a file."""
    options = read_settings(ExportOptions, values, "export: ", text=True)
    if not options.to:
        raise UsageError(f"export: no --to; expected {in_words(PLACES)}")
    check(options.to, {name: getattr(options, name) for name in OPTIONS})
    path = None if options.output is None else _free(Path(options.output), options.force)
    found = [one for given in options.reports for one in _meant(given)]
    text = exported(found, options.to, options.measures, options.project, options.offline)
    if path is None:
        print(printable(text), end="")
    else:
        _write(path, text)
    return 0


def _free(path: Path, force: bool) -> Path:
    """The file to write. UsageError for one that is there, unless it may be written over."""
    if path.is_dir():
        raise UsageError(f"--output {path}: a folder; expected the name of a file")
    if path.exists() and not force:
        raise UsageError(f"--output {path}: it is there, and stays as it is; choose another name, or add --force")
    return path


def _write(path: Path, text: str) -> None:
    from ..reports.saving import publish_file

    try:
        publish_file(path, text)
    except OSError as error:
        raise UsageError(f"--output {path}: cannot be written ({error.strerror or error}); choose another") from error
    print(printable(str(path)))


def _meant(given: str) -> list[Saved]:
    """The reports that are meant; of a folder that holds a report over several checkpoints, without its members."""
    folders = find_reports(given)
    found = [Saved(*load(str(folder))) for folder in folders]
    kept = without_members(found)
    if left_out := len(found) - len(kept):
        said = f"{left_out} of {len(found)} reports belong to one over several checkpoints, and are left out"
        print(printable(f"{given}: {said}; to have one of them, name its folder"), file=sys.stderr)
    return kept
