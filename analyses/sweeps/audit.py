"""Which checkpoints hold the same weights, wholly or in part: by their files, without opening a model. Without torch.

Files of a hub cache are compared by the names of their blobs, which are digests: nothing is read. Other files are read
once, and their tensors compared. Configurations and tokenizers do not matter here.

The same tensors in another container (`.bin` beside `.safetensors`, other shards) count as different where nothing was
read, and pickles are always compared as whole files.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO, Literal

from ...data.errors import CheckpointRefused, MesascopeError
from ...data.recipe import canonical_json, file_sha256
from ...models.opening.catalogue import Member, read_header, read_json_header
from ...models.opening.naming import named
from .identity import INDEX, SHA256, blob_of, opened_files
from .items import Item

_CHUNK = 2**24
_Digests = Mapping[str, str]
_Reader = Callable[[Path], tuple[str, _Digests]]


@dataclass(frozen=True)
class Partly:
    """A checkpoint that shares weights with one before it, the one with which it shares most.

    equal, of:  tensors, or weight files where no tensor was read
    """

    item: Item
    like: Item
    equal: int
    of: int
    what: Literal["tensors", "weight files"]

    @property
    def sentence(self) -> str:
        return f"{self.equal} of {self.of} {self.what} equal"


@dataclass(frozen=True)
class Audit:
    """What the files of checkpoints say of their weights.

    identical:     groups of the same weights, of two or more checkpoints
    partly:        of checkpoints that differ, each group by its first
    not_compared:  with the reason
    """

    checkpoints: int
    distinct: int
    identical: tuple[tuple[Item, ...], ...]
    partly: tuple[Partly, ...]
    not_compared: tuple[tuple[Item, str], ...]

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(eq=False)
class _Weights:
    """Checkpoints with the same weights, and what is known of these.

    files:    digests of the weight files; empty for a member of a family
    tensors:  digests by name; empty where none was read
    known:    what any of the checkpoints is known by
    """

    items: list[Item]
    files: list[str] = field(default_factory=list)
    tensors: _Digests = field(default_factory=dict)
    known: set[Hashable] = field(init=False)

    def __post_init__(self) -> None:
        self.known = {tuple(sorted(self.files)), frozenset(self.tensors.items())} - {(), frozenset()}

    def join(self, other: _Weights) -> None:
        self.items += other.items
        self.files, self.tensors = self.files or other.files, self.tensors or other.tensors
        self.known |= other.known


def audit(items: Sequence[Item]) -> Audit:
    """Compare the weights of checkpoints. What cannot be read is left out, with the reason."""
    reader, found, not_compared = cache(_read), list[_Weights](), list[tuple[Item, str]]()
    for item in dict.fromkeys(items):
        try:
            found.append(_weights_of(item, reader))
        except (MesascopeError, OSError) as error:
            not_compared.append((item, str(error)))
    kinds = _joined(found)
    return Audit(
        checkpoints=len(found),
        distinct=len(kinds),
        identical=tuple(tuple(kind.items) for kind in kinds if len(kind.items) > 1),
        partly=tuple(_shared(kinds)),
        not_compared=tuple(not_compared),
    )


def _weights_of(item: Item, reader: _Reader) -> _Weights:
    files = [path for path in opened_files(item)[0] if not path.name.endswith(INDEX)]
    if not files:
        named(item.model, item.revision)  # says what is wrong with the name
        raise CheckpointRefused(f"{item.model}: no weight files; expected those of save_pretrained")
    blobs = [blob for path in files if (blob := blob_of(path)) and SHA256.fullmatch(blob)]
    if len(blobs) == len(files):
        return _Weights([item], blobs)
    read = [reader(path) for path in files]
    tensors = {name: digest for _, digests in read for name, digest in digests.items()}
    if member := _member(item, files[0]):
        own = {name.removeprefix(member.prefix): d for name, d in tensors.items() if name.startswith(member.prefix)}
        return _Weights([item], tensors=own)
    return _Weights([item], [whole for whole, _ in read], tensors)


def _member(item: Item, path: Path) -> Member | None:
    """Which checkpoint of a family an item is; None for one that is a file or a directory of its own."""
    if item.revision is None or path.parent.parent.name == "snapshots":
        return None
    return read_header(path).select(item.revision)[0]


def _read(path: Path) -> tuple[str, _Digests]:
    """The digests of a file and of each tensor in it; of a pickle or an archive no tensors."""
    if path.suffix != ".safetensors":
        return file_sha256(path), {}
    header = read_json_header(path)
    header.pop("__metadata__", None)
    with path.open("rb") as file:
        start = file.read(8)
        whole = hashlib.sha256(start + file.read(int.from_bytes(start, "little")))
        try:
            tensors = dict(_tensors(file, header, whole))
        except (KeyError, TypeError, ValueError) as error:
            raise CheckpointRefused(f"{path.name}: damaged safetensors ({error}); download or copy it again") from error
    return whole.hexdigest(), tensors


def _tensors(file: BinaryIO, header: Mapping[str, Any], whole: Any) -> Iterator[tuple[str, str]]:
    """Name and digest of each tensor, in the order of their bytes, all of which `whole` is told, too."""
    position = 0
    for name, entry in sorted(header.items(), key=lambda item: item[1]["data_offsets"]):
        begin, end = entry["data_offsets"]
        if begin != position:
            raise ValueError(f"a tensor begins at byte {begin}, expected {position}")
        own = hashlib.sha256(canonical_json([entry["dtype"], entry["shape"]]).encode())
        while position < end:
            if not (chunk := file.read(min(_CHUNK, end - position))):
                raise ValueError(f"the file ends within {name!r:.80}")
            own.update(chunk)
            whole.update(chunk)
            position += len(chunk)
        yield name, own.hexdigest()
    if file.read(1):
        raise ValueError("the file goes on after its last tensor")


def _joined(found: Iterable[_Weights]) -> list[_Weights]:
    """Checkpoints whose files or tensors are equal, joined; in the order of each first."""
    kinds: list[_Weights] = []
    for weights in found:
        same = [kind for kind in kinds if not kind.known.isdisjoint(weights.known)]
        for other in (*same[1:], weights) if same else ():
            same[0].join(other)
        kinds = [kind for kind in kinds if kind not in same[1:]] + ([] if same else [weights])
    return kinds


def _shared(kinds: Sequence[_Weights]) -> Iterator[Partly]:
    """Each kind of weights beside the one before it with which it has most in common; of several, the nearest."""
    for place, kind in enumerate(kinds):
        before = [_in_common(kind, other) for other in reversed(kinds[:place])]
        most = max(before, key=lambda partly: partly.equal / partly.of, default=None)
        if most and most.equal:
            yield most


def _in_common(kind: _Weights, other: _Weights) -> Partly:
    if kind.tensors and other.tensors:
        equal = len(kind.tensors.items() & other.tensors.items())
        of, what = max(len(kind.tensors), len(other.tensors)), "tensors"
    else:
        equal = (Counter(kind.files) & Counter(other.files)).total()
        of, what = max(len(kind.files), len(other.files), 1), "weight files"
    return Partly(kind.items[0], other.items[0], equal, of, what)
