"""The command `mesascope selftest`: closed forms of papers against what mesascope computes on this machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib.metadata import version
from typing import Any

import torch

from ...data.errors import UsageError
from ...data.settings import read_settings
from ..reports.provenance import environment
from ..reports.records import json_value
from ..reports.threads import threads_set
from ..runs.threads import number_of_threads
from ..selftest.agreement import IDENTITY
from ..selftest.running import Row, run_checks
from .planning import checked_device
from .progress import progress_bar
from .run_options import Threads, refuse_threads
from .terminal import number, print_json, print_table, printable, width

WITHOUT_FLOAT64 = {"mps"}
OUTCOME = ("error", "tolerance", "draws", "passed")
WIDE = 140
"""Columns of a terminal that has room for papers."""


@dataclass(frozen=True)
class SelftestOptions:
    """Options of `mesascope selftest`."""

    device: str = "cpu"
    threads: Threads = None
    json: bool = False
    quiet: bool = False


def selftest_command(values: Mapping[str, Any]) -> int:
    """Print every check with its largest error. 1 if any is beyond its tolerance."""
    refuse_threads(values, "selftest: ")
    options = read_settings(SelftestOptions, values, "selftest: ", text=True)
    device = checked_device(options.device)
    if device.type in WITHOUT_FLOAT64:
        raise UsageError(f"selftest: device {options.device!r} has no float64, in which all checks are; choose another")
    threads = number_of_threads(options.threads, largest_matrix=1)
    with threads_set(threads, threads), progress_bar(options.quiet) as progress:
        rows, machine = run_checks(device, progress), environment(device)
    passed = all(row.passed for row in rows)
    if options.json:
        found = {"version": version("mesascope"), "device": str(device), "environment": machine, "passed": passed}
        print_json(json_value({**found, "checks": [asdict(row) for row in rows]}))
    else:
        _print(rows, device)
    return 0 if passed else 1


def _print(rows: Sequence[Row], device: torch.device) -> None:
    columns = ("check", *(("mesascope", "compared with", "source") if width() >= WIDE else ("compared",)), *OUTCOME)
    print_table(f"Self-test on {device}, in float64", [_cells(row) for row in rows], columns)
    for row in rows:
        if row.problem:
            print(printable(f"{row.check} could not run: {row.problem}"))
    failed = [row.check for row in rows if not row.passed]
    if failed:
        print(f"{len(failed)} of {len(rows)} checks failed: {', '.join(failed)}")
        return
    worst = max((row for row in rows if row.tolerance == IDENTITY), key=lambda row: row.error)
    print(f"All {len(rows)} checks passed. Largest error of an identity: {number(worst.error, 2)} ({worst.check})")


def _cells(row: Row) -> dict[str, Any]:
    return {
        "check": row.check,
        "mesascope": row.mesascope,
        "compared with": row.expected,
        "compared": f"{row.mesascope} = {row.expected}",
        "source": row.source.partition(", arXiv")[0],
        "error": number(row.error, 2),
        "tolerance": number(row.tolerance, 2),
        "draws": row.draws,
        "passed": "yes" if row.passed else "NO",
    }
