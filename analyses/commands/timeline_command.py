"""The command `mesascope timeline`: the probes of a folder's reports on one time axis. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...data.errors import UsageError
from ...data.settings import read_settings
from ..timelines.saved import PAGE, load
from .terminal import print_json, printable

MOST_PAIRS = 8
"""Pairs whose order is printed."""


@dataclass(frozen=True)
class TimelineOptions:
    """Options of `mesascope timeline`."""

    report: str
    quiet: bool = False
    json: bool = False


def timeline_command(values: Mapping[str, Any]) -> int:
    """Make the timelines of a folder, and print what they show."""
    from ..sweeps.over_time import timeline  # which loads all that draws

    options = read_settings(TimelineOptions, values, "timeline: ", text=True)
    folders = timeline(options.report)
    if not folders:
        raise UsageError(
            f"{options.report}: no measure that a probe follows was measured at two steps or more; expected reports of"
            " several steps. `mesascope sweep` measures all steps of a family"
        )
    if options.json:
        print_json({str(folder): load(folder) for folder in folders})
    else:
        for folder in folders:
            print_timeline(folder, options.quiet)
    return 0


def print_timeline(folder: Path, quiet: bool = False) -> None:
    """A sentence for each onset, and where the page is; quietly the folder alone."""
    if quiet:
        print(printable(str(folder)))
        return
    record = load(folder)
    order = record["sentences"]["order"]
    for sentence in (*record["sentences"]["onsets"], *order[:MOST_PAIRS]):
        print(printable(f"- {sentence}"))
    if len(order) > MOST_PAIRS:
        print(printable(f"- The page has the order of {len(order) - MOST_PAIRS} more pairs."))
    print(printable(f"{record['label']} over time: {folder / PAGE}"))
