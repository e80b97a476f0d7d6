"""What a worker gets for one item, and what comes back: plain data that passes between processes. Needs no torch."""

from __future__ import annotations

import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ...data.errors import CheckpointRefused, OutputError, UsageError
from .items import Item
from .state import Failure

LAST_LINES = 30
"""Lines of a traceback that a failure keeps."""


@dataclass(frozen=True)
class ItemTask:
    """One checkpoint, and all that is measured of it.

    probes:   name and settings of each, as `Probe.settings` gives them
    out:      the output folder
    asked:    the digest of the request that this is part of, see `SweepFolder.amend`
    dtype:    such as float32; None: the checkpoint's own
    layout, model_config, model_args:  as `models.load` takes them
    figures:  which of them a report gets, see `Report.save`
    threads:  of torch and of BLAS libraries; None: as many as they take by themselves
    force:    measure also what is finished
    """

    item: Item
    probes: tuple[tuple[str, Mapping[str, Any]], ...]
    out: str
    asked: str
    seed: int = 0
    batch_size: int | None = None
    device: str = "cpu"
    dtype: str | None = None
    layout: str | Mapping[str, Any] | None = None
    model_config: str | Mapping[str, Any] | None = None
    model_args: Mapping[str, Any] | None = None
    figures: str = "png"
    threads: int | None = 1
    force: bool = False


@dataclass(frozen=True)
class ItemResult:
    """What became of an item.

    reports:         each probe's report, as a folder below the output folder; None: the probe does not apply. A probe
                     that failed has no entry
    not_applicable:  the reasons of those that do not apply
    found, made:     how many reports were there already, and how many are new
    error:           the first failure
    """

    item: Item
    reports: Mapping[str, str | None] = field(default_factory=dict)
    not_applicable: Mapping[str, str] = field(default_factory=dict)
    found: int = 0
    made: int = 0
    error: Failure | None = None


def failure_by(error: BaseException, log: Path | None = None) -> Failure:
    """An exception as text. Exceptions themselves do not always survive the way from one process to another."""
    lines = "".join(traceback.format_exception(error)).splitlines()[-LAST_LINES:]
    expected = isinstance(error, CheckpointRefused | UsageError)
    sentence = str(error) if expected else " ".join(f"{type(error).__name__}: {error}".split())
    return Failure(_kind(error), sentence, traceback="\n".join(lines), log=None if log is None else str(log))


def _kind(error: BaseException) -> str:
    kinds = {OutputError: "output", CheckpointRefused: "refused", UsageError: "usage"}
    return next((kind for of, kind in kinds.items() if isinstance(error, of)), "error")
