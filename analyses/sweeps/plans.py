"""What a sweep consists of: its checkpoints, which of them hold the same weights, and what is asked of each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from ...data.errors import UsageError
from ..reports.records import json_value
from .finding import identity_for
from .identity import IdentityCache, groups
from .items import Item
from .shares import in_share
from .state import Failure, Row, SweepFolder, digest_of
from .tasks import ItemTask


@dataclass(frozen=True)
class Plan:
    """What is asked of which checkpoints.

    items:     each once, in the order in which they were named
    template:  what is asked, whatever the item
    """

    items: tuple[Item, ...]
    template: ItemTask

    @property
    def asked(self) -> str:
        return self.template.asked

    @cached_property
    def folder(self) -> SweepFolder:
        return SweepFolder(self.template.out)

    @cached_property
    def groups(self) -> list[list[Item]]:
        """Checkpoints of the same weights together. The first of each is measured: one that is already, if any is."""
        return [sorted(group, key=lambda item: self._there(item) is None) for group in groups(self.items)]

    @cached_property
    def same_as(self) -> dict[Item, Item]:
        """Of each checkpoint that is not measured itself, the one that has its weights."""
        return {item: first for first, *others in self.groups for item in others}

    def note_same_weights(self) -> None:
        """Note checkpoints that were both measured, because their files differ, and that hold the same weights."""
        cache, found = IdentityCache(self.template.out), dict[str, list[Item]]()
        for item in self.measured():
            if (known := cache.get(identity_for(self.task(item)))) is not None:
                found.setdefault(known.source["weights_sha256"], []).append(item)
        self.folder.note_identical(group for group in found.values() if len(group) > 1)

    def measured(self, shard: tuple[int, int] | None = None) -> list[Item]:
        """The checkpoints to measure: all, or those of share i of n."""
        firsts = [first for first, *_ in self.groups]
        return firsts if shard is None else [item for item in firsts if in_share(item, *shard)]

    def task(self, item: Item) -> ItemTask:
        return replace(self.template, item=item)

    def note(self) -> None:
        """Write the plan into the output folder, beside what was planned there before."""
        self.folder.amend(self.items, asked_record(self.template))
        self.folder.note_identical(self.groups)

    def failure_of(self, item: Item) -> Failure | None:
        return self.folder.failure_of(item, self.asked)

    def _there(self, item: Item) -> Mapping[str, str | None] | None:
        return self.folder.reports_of(item, self.asked)

    def rows(self) -> tuple[Row, ...]:
        """What has become of the checkpoints so far."""
        noted = self.folder.identical()
        return tuple(self._row(item, noted) for item in self.items)

    def _row(self, item: Item, noted: Mapping[Item, Item]) -> Row:
        same_as = self.same_as.get(item)
        of = same_as or item
        failure = self.failure_of(of)
        reports = self.folder.reports_beside(of, self.asked) if failure else self._there(of)
        state = "identical" if same_as else "failed" if failure else "pending" if reports is None else "done"
        return Row(item, state, reports or {}, failure, same_as or noted.get(item))


def asked_record(template: ItemTask) -> dict[str, Any]:
    """What is asked, as the plan records it: all that makes two requests of the same checkpoints differ."""
    names = ("seed", "batch_size", "device", "dtype", "layout", "model_config", "model_args")
    return json_value({"probes": dict(template.probes), **{name: getattr(template, name) for name in names}})


def plan_of(items: Sequence[Item], template: ItemTask) -> Plan:
    """A plan whose tasks know the request that they are part of."""
    if not template.probes:
        raise UsageError("no probe is chosen; expected at least one")
    return Plan(tuple(items), replace(template, asked=digest_of(asked_record(template))))
