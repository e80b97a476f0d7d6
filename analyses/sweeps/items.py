"""The checkpoints of a sweep, one by one, as their names and headers say. Needs no torch, and reads no weights."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ...data.errors import CheckpointRefused, UsageError
from ...data.recipe import canonical_json
from ...models.opening.catalogue import Header, shipped
from ...models.opening.hub_cache import cached_revisions, cached_snapshot, fetching, full_revision
from ...models.opening.naming import is_pretrained, named
from ..reports.escaping import slug

ALL = "all"
"""The revision that means every member of a family, or every cached revision of a hub id."""


@dataclass(frozen=True)
class Item:
    """One checkpoint.

    model:     as it was given: a shipped name, a file, a directory or a hub id
    revision:  "seed0-step500" of a family, "step1000" of a hub id; None: what the model is without one
    """

    model: str
    revision: str | None = None

    @property
    def name(self) -> str:
        """The name of this item's files. It differs wherever model or revision do."""
        digest = hashlib.sha256(canonical_json([self.model, self.revision]).encode()).hexdigest()[:8]
        words = (Path(self.model).name, *([self.revision] if self.revision else []))
        return f"{slug('-'.join(words))}-{digest}"

    @property
    def label(self) -> str:
        return f"{self.model} at {self.revision}" if self.revision else self.model

    def as_dict(self) -> dict[str, str | None]:
        return asdict(self)

    @classmethod
    def from_dict(cls, record: Mapping[str, str | None]) -> Item:
        """ValueError for what is no record of an item."""
        model, revision = record.get("model"), record.get("revision")
        if not isinstance(model, str) or not isinstance(revision, str | None):
            raise ValueError(f"model = {model!r}, revision = {revision!r}; expected texts")
        return cls(model, revision)


def items_of(models: Sequence[str], revisions: Sequence[str] = (), seeds: Sequence[int] = ()) -> list[Item]:
    """Every checkpoint that is named, each once: models in their order, and revisions of each in theirs.

    revisions:  of a family or a hub id; none, or "all": every member, every cached revision
    seeds:      members of other seeds are left out

    A file that is there but is refused by its header is an item, whose opening says why. Raises CheckpointRefused for
    a name of nothing, and UsageError for revisions and seeds that a model does not have. What the hub cache lacks
    stands in one error, with the commands that download it.
    """
    found: dict[Item, None] = {}
    lacking: list[Item] = []
    for model in models:
        if not is_pretrained(model):
            items = _of_file(model, revisions, seeds)
        elif seeds:
            raise UsageError(f"seeds {_listed(seeds)}: {model} has no seeds; leave out --seeds")
        elif os.path.isdir(model):
            items = [_of_directory(model, revisions)]
        else:
            items = _of_hub(model, revisions, lacking)
        found |= dict.fromkeys(items)
    if lacking:
        names = ", ".join(item.label for item in lacking)
        commands = " && ".join(fetching(item.model, item.revision) for item in lacking)
        raise UsageError(f"not in the local cache: {names}; mesascope downloads nothing; get them with `{commands}`")
    return list(found)


def _of_directory(model: str, revisions: Sequence[str]) -> Item:
    for revision in revisions:
        if revision != ALL:
            named(model, revision)  # says that a directory has none
    return Item(model)


def _of_hub(model: str, revisions: Sequence[str], lacking: list[Item]) -> list[Item]:
    """The revisions of a hub id. What is asked for, but is not in the cache, is added to `lacking`."""
    cached = sorted(filter(lambda name: _is_cached(Item(model, name)), cached_revisions(model)), key=_by_value)
    every: list[str | None] = [None] if cached in ([], ["main"]) else [*cached]
    wanted = [name for asked in revisions or (ALL,) for name in (every if asked == ALL else [full_revision(asked)])]
    items = [Item(model, revision) for revision in wanted]
    lacking += [item for item in items if item.revision not in cached and not _is_cached(item)]
    return items


def _is_cached(item: Item) -> bool:
    try:
        return cached_snapshot(item.model, item.revision).is_dir()
    except (CheckpointRefused, UsageError):
        return False


def _by_value(name: str) -> list[tuple[int, str]]:
    """Sorts step2 before step10."""
    return [(int(word), "") if word.isdecimal() else (-1, word) for word in re.split(r"(\d+)", name)]


def _of_file(model: str, revisions: Sequence[str], seeds: Sequence[int]) -> list[Item]:
    try:
        header = named(model).header
    except CheckpointRefused:
        if model not in shipped() and not os.path.exists(model):
            raise
        return [Item(model, None if revision == ALL else revision) for revision in revisions or (ALL,)]
    if header is None or not header.members:
        given = [revision for revision in revisions if revision != ALL]
        if given or seeds:
            what = f"revision {given[0]!r}" if given else f"seeds {_listed(seeds)}"
            option = "--revisions" if given else "--seeds"
            raise UsageError(f"{what}: {Path(model).name} holds a single checkpoint; leave out {option}")
        return [Item(model)]
    return [item for revision in revisions or (ALL,) for item in _members(model, header, revision, seeds)]


def _members(model: str, header: Header, revision: str, seeds: Sequence[int]) -> Iterator[Item]:
    """The members of a family that a revision names, of these seeds if there are any."""
    there = {member.seed for member in header.members}
    if unknown := [seed for seed in seeds if seed not in there]:
        raise UsageError(f"seeds {_listed(unknown)}: not in {model}; it has the seeds {_listed(sorted(there))}")
    members = [member for member in header.select(revision) if not seeds or member.seed in seeds]
    if not members:
        raise UsageError(f"revision {revision!r} of {model}: not of the seeds {_listed(seeds)}; change one of the two")
    for member in members:
        yield Item(model, member.revision)


def _listed(seeds: Sequence[int]) -> str:
    return ", ".join(map(str, seeds))
