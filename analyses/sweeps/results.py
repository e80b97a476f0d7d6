"""What a sweep gives back. Needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from .state import Row


@dataclass(frozen=True)
class SweepResult:
    """What became of a sweep.

    rows:            of each checkpoint, in the order in which they were named
    reports:         folders of the reports over several checkpoints
    timelines:       folders of the pages that show several probes on one time axis
    not_applicable:  of each probe that does not apply somewhere: the reason, by checkpoint
    jobs:            of a cluster, that measure what was to be measured
    """

    rows: tuple[Row, ...]
    reports: tuple[Path, ...] = ()
    timelines: tuple[Path, ...] = ()
    not_applicable: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    jobs: tuple[str, ...] = ()

    @property
    def failed(self) -> tuple[Row, ...]:
        return tuple(row for row in self.rows if row.state == "failed")

    @property
    def pending(self) -> tuple[Row, ...]:
        """What other shares or jobs have still to measure."""
        return tuple(row for row in self.rows if row.state == "pending")
