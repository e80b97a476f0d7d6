"""What was asked of the checkpoints of trainings: one probe at one step, with its report or the reason for none.

Needs no torch. A sweep knows what failed and what is missing; of any other folder there are the reports alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...data.errors import UsageError
from ...models.opening.hub_cache import step_of
from ..reports.overview import head_of, rows
from ..reports.record import Record


@dataclass(frozen=True)
class Point:
    """One probe at one checkpoint.

    probe:   its name
    model:   what the checkpoints of one training, or of its seeds, share, see `model_of`
    seed:    of the training; None: the model has no seeds
    step:    of the training
    folder:  of the report; None: there is none
    why:     of no report, the reason, in words
    failed:  the measurement was tried
    """

    probe: str
    model: str
    seed: int | None
    step: int
    folder: Path | None = None
    why: str = ""
    failed: bool = False

    @property
    def where(self) -> str:
        """`seed 0, step 500`."""
        return f"step {self.step}" if self.seed is None else f"seed {self.seed}, step {self.step}"


@dataclass(frozen=True)
class Read:
    """A point whose report, if it has one, has been read."""

    point: Point
    record: Record | None

    @property
    def training(self) -> tuple[str, int | None]:
        return self.point.model, self.point.seed

    @property
    def asked(self) -> Mapping[str, Any]:
        """How a report was measured, beside its probe."""
        assert self.record is not None, "of reports only"
        return {**self.record.settings, "seed": self.record.seed, "dtype": self.record.provenance["dtype"]}


def read(points: Iterable[Point]) -> list[Read]:
    """The reports of all points, in an order that does not depend on theirs: at one step a report comes first."""

    def place(p: Point) -> tuple[str | int | bool, ...]:
        return p.probe, p.model, -1 if p.seed is None else p.seed, p.step, p.folder is None, str(p.folder)

    ordered = sorted(points, key=place)
    return [Read(point, None if point.folder is None else Record.load(point.folder)) for point in ordered]


def model_of(name: str, revision: str | None, seed: int | None) -> str:
    """What checkpoints of one training share: the name, with what stands before the step in the revision of a hub id.
    The steps of two stages, "stage1-step1000" and "stage2-step1000", are no steps of one axis.
    """
    stage = (revision or "").rpartition("step")[0].rstrip("-")
    return f"{name} {stage}" if stage and seed is None and step_of(revision) is not None else name


def points_in(root: Path) -> list[Point]:
    """Every report of a single checkpoint with a step below a folder. UsageError for a folder without any."""
    found = []
    for row in rows(root):
        if row.problem is None and row.checkpoints == 1 and row.steps:
            folder = root / row.folder
            (source,) = head_of(folder)[0]["sources"]
            model = model_of(source["name"], source["revision"], row.seed)
            found.append(Point(row.probe, model, row.seed, row.steps[0], folder))
    if not found:
        raise UsageError(
            f"{root}: no reports of checkpoints whose step is known; expected a folder that `mesascope sweep`, or"
            " `mesascope run` with several steps, has written"
        )
    return found
