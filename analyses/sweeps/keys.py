"""The key of a report on a checkpoint that is not open, from what was known when it last was."""

from __future__ import annotations

from pathlib import Path

from ...models.subject import Source
from ...probes.probe import Probe
from ..reports.escaping import slug
from ..reports.provenance import key_of
from ..runs.running import checked_batch_size
from .identity import Known


def key_of_known(known: Known, probe: Probe, seed: int, batch_size: int | None, device: str) -> str:
    """The same key that an open subject gives."""
    size = checked_batch_size(probe, seed, batch_size)
    return key_of(_source(known), probe, seed, size, device.partition(":")[0], known.dtype)


def folder_of(known: Known, probe: Probe, key: str) -> Path:
    """Where the report with this key lies below an output folder."""
    return Path(slug(_source(known).label), slug(probe.name), key)


def _source(known: Known) -> Source:
    """What keys and folders are made of; the rest may be noted as another version of mesascope knew it."""
    source = known.source
    return Source(
        source["name"],
        source["layout"],
        source.get("revision"),
        weights_sha256=source["weights_sha256"],
        facts=source["facts"],
        record=source["record"],
    )
