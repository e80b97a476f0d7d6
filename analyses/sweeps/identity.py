"""Which checkpoint an item is, before it is opened: by the names that a hub cache gives to contents, or by the size and
time of its files. Needs no torch, and reads no weights.

A hub cache links `snapshots/<commit>/<file>` to `blobs/<name>`. For weights the name is the SHA-256 of the content, 64
hexadecimal digits. The link is read once and not followed: the blob may itself be a link to a store of other names.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...data.errors import MesascopeError
from ...data.recipe import canonical_json
from ...models.opening.catalogue import find
from ...models.opening.hub_cache import cached_snapshot
from ...models.opening.naming import is_pretrained
from ...models.opening.shards import WEIGHTS
from ...models.opening.tokenizer_files import FURTHER, VOCABULARIES
from ..reports.records import json_value
from .items import Item
from .notes import read_note, write_note

INDEX = ".index.json"
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class Identity:
    """What tells a checkpoint from others.

    files:    name and content of each file that is opened; the content by a digest, or by size and time
    reading:  digest of how the files are read
    trusted:  the digests of all weights are known: items with equal files have equal weights
    """

    item: Item
    files: tuple[tuple[str, str], ...]
    reading: str
    trusted: bool

    @property
    def key(self) -> str:
        return _digest([self.item.as_dict(), self.files, self.reading])[:16]


def identity_of(
    item: Item,
    layout: str | Mapping[str, Any] | None = None,
    model_config: str | Path | Mapping[str, Any] | None = None,
    model_args: Mapping[str, Any] | None = None,
    dtype: str | None = None,
) -> Identity:
    """The identity of a checkpoint that is opened with these arguments. Of files that are missing only the names enter:
    opening them fails, and says why.
    """
    reading = _digest([_content(layout), _content(model_config), json_value(model_args or {}), dtype])
    weights, others = opened_files(item)
    contents = {path: blob_of(path) for path in weights}
    files = tuple((path.name, contents[path] or _stamp(path)) for path in weights)
    files += tuple((path.name, blob_of(path) or _stamp(path)) for path in others)
    sums = [contents[path] or "" for path in weights if not path.name.endswith(INDEX)]
    return Identity(item, files, reading, trusted=bool(sums) and all(map(SHA256.fullmatch, sums)))


def groups(items: Sequence[Item]) -> list[list[Item]]:
    """Items whose files are known to be equal stand together; the first of a group is the one to measure."""
    found: dict[Any, list[Item]] = {}
    for item in items:
        identity = identity_of(item)
        found.setdefault(identity.files if identity.trusted else item, []).append(item)
    return list(found.values())


def opened_files(item: Item) -> tuple[list[Path], list[Path]]:
    """The weight files that opening reads, and the files beside them that say how: configuration and tokenizer.

    Beside an index of shards all files of its kind count, since the index itself is not read here.
    """
    try:
        if not is_pretrained(item.model):
            return [find(item.model)], []
        folder = Path(item.model) if os.path.isdir(item.model) else cached_snapshot(item.model, item.revision)
        names = sorted(os.listdir(folder))
    except (MesascopeError, OSError):
        return [], []
    weights = [name for name in WEIGHTS if name in names][:1]
    if weights and weights[0].endswith(INDEX):
        ending = Path(weights[0].removesuffix(INDEX)).suffix
        weights += [name for name in names if name.endswith(ending)]
    others = [name for name in ("config.json", *VOCABULARIES, *FURTHER) if name in names]
    return [folder / name for name in weights], [folder / name for name in others]


def blob_of(path: Path) -> str | None:
    """The name of the blob in a hub cache that a file links to; None for any other file."""
    if path.parent.parent.name != "snapshots":
        return None
    try:
        target = Path(os.readlink(path))
    except OSError:
        return None
    return target.name if target.parent.name == "blobs" else None


def _stamp(path: Path) -> str:
    """What a file is told by that has no digest: its place, its size, and when it was written."""
    try:
        found = path.stat()
    except OSError:
        return f"{path.absolute()}: missing"
    return f"{path.absolute()}: {found.st_size} bytes at {found.st_mtime_ns} ns"


def _content(given: str | Path | Mapping[str, Any] | None) -> Any:
    """A declaration or a configuration; of a file its bytes, and of a name the name."""
    if given is None or isinstance(given, Mapping):
        return json_value(given)
    try:
        return hashlib.sha256(Path(given).read_bytes()).hexdigest()
    except OSError:
        return str(given)


def _digest(value: Any) -> str:
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


# -- what opening found -----------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Known:
    """What opening a checkpoint told: enough for the keys of its reports, without opening it again.

    source:  the record of its `models.Source`
    dtype:   of its weights as they were opened
    """

    source: Mapping[str, Any]
    dtype: str


class IdentityCache:
    """What is known of checkpoints by their identities. Without it a sweep opens them again, and finds the same."""

    def __init__(self, out: str | Path) -> None:
        self.out = Path(out)

    def get(self, identity: Identity) -> Known | None:
        """None also for an entry that is damaged."""
        note = read_note(self._path(identity)) or {}
        whole = isinstance(note.get("dtype"), str) and _is_source(note.get("source"))
        if not whole or note.get("identity") != json_value(identity):
            return None
        return Known(note["source"], note["dtype"])

    def put(self, identity: Identity, known: Known) -> None:
        note = {"identity": identity, "source": known.source, "dtype": known.dtype}
        write_note(self.out, self._path(identity), note)

    def _path(self, identity: Identity) -> Path:
        return self.out / ".sweep" / "weights" / f"{identity.key}.json"


def _is_source(source: Any) -> bool:
    """Whether this is a record with what keys and folders of reports are made from."""
    return (
        isinstance(source, dict)
        and all(isinstance(source.get(name), str) for name in ("name", "layout", "weights_sha256"))
        and all(isinstance(source.get(name), dict) for name in ("facts", "record"))
        and isinstance(source.get("revision"), str | None)
    )
