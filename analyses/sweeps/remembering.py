"""Checkpoints as their reports know them: what a report over steps and seeds asks of a subject that is not open."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch

from ...models.opening.hub_cache import cached_snapshot, step_of
from ...models.subject import NotApplicable, Source, Subject
from ..reports.intact import made_with
from ..reports.overview import head_of
from ..reports.provenance import PACKAGES
from ..reports.report import Report
from ..runs.family import by_step
from .items import Item
from .state import Row


@dataclass(frozen=True)
class Kept:
    """A finished report of one checkpoint, of which the numbers are read only when they are needed.

    source:  the record of its checkpoint
    """

    folder: Path
    key: str
    source: Mapping[str, Any]
    provenance: Mapping[str, Any]

    @classmethod
    def of(cls, folder: Path) -> Kept:
        head, _ = head_of(folder)
        (source,) = head["sources"]
        return cls(folder, head["key"], source, made_with(folder) or Report.load(folder).provenance)

    @cached_property
    def report(self) -> Report:
        return Report.load(self.folder)


class Remembered(Subject):
    """A finished checkpoint of a sweep.

    item:  the checkpoint
    kept:  its own report, or that of another checkpoint with the same files
    """

    def __init__(self, row: Row, kept: Kept) -> None:
        self.item = row.item
        self.kept = kept
        self.source = _source_of_same(row.item, kept) if row.state == "identical" else _source(kept)
        packages = kept.provenance["environment"]["packages"]
        self.packages = tuple(name for name in packages if name not in PACKAGES)

    @property
    def dtype(self) -> torch.dtype:
        return getattr(torch, self.kept.provenance["dtype"])

    @property
    def device(self) -> torch.device:
        return torch.device(self.kept.provenance["device"])

    def weights(self) -> NotApplicable:
        return NotApplicable("the checkpoint is not open: its report is all that is read of it")


def marked(members: Iterable[Remembered]) -> tuple[list[Remembered], list[str]]:
    """Checkpoints by step and seed without those that would count the same weights twice at one step, and a sentence of
    each that is left out. Of two steps with the same weights the later one says so in its notes. A copy of no step of
    its own, such as a branch `main` with the weights of the last step, is left out, too.
    """
    kept: list[Remembered] = []
    left_out: list[str] = []
    for one in sorted(by_step(members), key=lambda member: member.source.step is None):
        same = [other for other in kept if _same_weights(one.source, other.source)]
        if same and (one.source.step is None or one.source.step in [other.source.step for other in same]):
            left_out.append(f"{one.source.label} is left out: it has the same weights as {same[0].source.label}")
            continue
        if same:
            one.source = with_notes(one.source, f"the same weights as {same[0].source.label}: no independent point")
        kept.append(one)
    return by_step(kept), left_out


def with_notes(source: Source, *notes: str) -> Source:
    return replace(source, notes=(*source.notes, *notes))


def _same_weights(one: Source, other: Source) -> bool:
    return one.weights_sha256 is not None and one.weights_sha256 == other.weights_sha256


def _source(kept: Kept) -> Source:
    return Source(**{**kept.source, "notes": tuple(kept.source["notes"])})


def _source_of_same(item: Item, kept: Kept) -> Source:
    """Where a checkpoint comes from that was not opened, because another one has its files."""
    source = _source(kept)
    if os.path.isdir(item.model):
        return replace(source, name=Path(item.model).name, revision=None, path=item.model, commit=None, step=None)
    commit, step = cached_snapshot(item.model, item.revision).name, step_of(item.revision)
    return replace(source, name=item.model, revision=item.revision, path=None, commit=commit, step=step)
