"""The file of an offline run, read without wandb's writer: records in blocks of 32 KiB, in LevelDB's log format."""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

BLOCK, HEADER = 32_768, 7
FULL, LAST = 1, 4


class OfflineRun(NamedTuple):
    """summary, config: by name, nested ones as `a/b`; history: by step; artifacts: the files of each, by its name."""

    folder: Path
    name: str
    project: str
    config: dict[str, Any]
    summary: dict[str, Any]
    history: dict[int, dict[str, Any]]
    artifacts: dict[str, set[str]]
    exit_code: int


def read(folder: Path) -> OfflineRun:
    (file,) = folder.glob("*.wandb")
    found = OfflineRun(folder, "", "", {}, {}, {}, {}, -1)
    for record in records(file.read_bytes()):
        kind = record.WhichOneof("record_type")
        of = getattr(record, kind)
        if kind == "run":
            found = found._replace(name=of.display_name, project=of.project)
            found.config.update(items(of.config.update))
        elif kind == "summary":
            found.summary.update(items(of.update))
        elif kind == "history":
            found.history[of.step.num] = items(of.item)
        elif kind == "artifact":
            found.artifacts[of.name] = {content.path for content in of.manifest.contents}
        elif kind == "exit":
            found = found._replace(exit_code=of.exit_code)
    return found


def items(given: Any) -> dict[str, Any]:
    return {"/".join(item.nested_key) or item.key: json.loads(item.value_json) for item in given}


def records(data: bytes) -> Iterator[Any]:
    from wandb.proto.wandb_internal_pb2 import Record

    at, part = HEADER, b""
    assert data[:4] == b":W&B"
    while at + HEADER <= len(data):
        if BLOCK - at % BLOCK < HEADER:
            at += BLOCK - at % BLOCK
            continue
        _, length, kind = struct.unpack_from("<IHB", data, at)
        part += data[at + HEADER : at + HEADER + length]
        at += HEADER + length
        if kind in (FULL, LAST):
            record = Record()
            record.ParseFromString(part)
            part = b""
            yield record
