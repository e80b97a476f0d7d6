"""One probe on one checkpoint: a report."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, fields
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from ...data.errors import UsageError, nearest
from ...models.subject import NotApplicable, Source, Subject
from ...probes import registered
from ...probes.probe import Probe, Progress, silent
from ..reports.code import source_state
from ..reports.escaping import slug
from ..reports.provenance import key, provenance
from ..reports.record import read_json
from ..reports.report import Report


def run(
    subject: Subject, probe: Probe, seed: int = 0, batch_size: int | None = None, progress: Progress = silent
) -> Report | NotApplicable:
    """Measure one checkpoint. A probe that does not apply answers why, which is no error.

    seed:        of everything that is drawn
    batch_size:  tasks or sequences in one forward pass; None: the probe's own number
    """
    batch_size = checked_batch_size(probe, seed, batch_size)
    if (refusal := probe.applies(subject)) is not None:
        return refusal
    begun = time.perf_counter()
    findings = probe.measure(subject, seed, batch_size, progress)
    return Report(
        probe=probe.name,
        probe_version=probe.version,
        settings=probe.settings(),
        sources=(source_record(subject.source),),
        provenance=provenance((subject,), probe, seed, batch_size),
        recipes={split: recipe.as_dict() for split, recipe in findings.recipes.items()},
        claim=probe.claim(findings.measures, (subject.source,)),
        heads=probe.heads(findings.measures),
        measures=findings.measures,
        arrays=findings.arrays,
        seed=seed,
        key=key(subject, probe, seed, batch_size, findings),
        timing=timing(begun),
    )


def checked_batch_size(probe: Probe, seed: int, batch_size: int | None) -> int:
    """The batch size that is meant. UsageError for a seed or a size that cannot be."""
    if seed < 0:
        raise UsageError(f"seed = {seed}: expected 0 or more")
    if batch_size is not None and batch_size < 1:
        raise UsageError(f"batch_size = {batch_size}: expected at least 1")
    return probe.batch_size if batch_size is None else batch_size


def source_record(source: Source) -> dict[str, Any]:
    return asdict(source)


def timing(begun: float) -> dict[str, Any]:
    """What differs between two identical runs."""
    finished = datetime.now(UTC).isoformat(timespec="seconds")
    return {"wall_seconds": round(time.perf_counter() - begun, 3), "finished": finished}


def finished(
    out: str | Path, subject: Subject, probe: Probe, seed: int = 0, batch_size: int | None = None
) -> Path | None:
    """The folder of a finished report of exactly this run below `out`, if there is one to reuse.

    None also where nothing must be reused: with changed sources, and for a subject that hides its weights.
    """
    if subject.source.weights_sha256 is None:
        return None
    batch_size = checked_batch_size(probe, seed, batch_size)
    folder = Path(slug(subject.source.label), slug(probe.name), key(subject, probe, seed, batch_size))
    return reusable(Path(out) / folder)


def reusable(folder: Path) -> Path | None:
    """`folder`, when a report is there and neither its sources nor ours differ from their commit."""
    if source_state()["dirty"] or not folder.is_dir():
        return None
    try:
        dirty = read_json(folder / "report.json")["provenance"]["environment"]["dirty"]
    except (UsageError, KeyError, TypeError):
        return None  # damaged: it is made again
    return None if dirty else folder


def probe_named(name: str, settings: dict[str, Any] | None = None) -> Probe:
    """A registered probe with these settings. UsageError for an unknown name or setting, with the nearest ones."""
    kinds = registered()
    if name not in kinds:
        raise UsageError(f"probe {name!r} is not known; {nearest(name, kinds)}")
    module, _, attribute = kinds[name].partition(":")
    kind = getattr(import_module(module), attribute)
    known = [field.name for field in fields(kind)]
    for setting in settings or {}:
        if setting not in known:
            raise UsageError(f"{name}: setting {setting!r} is not known; {nearest(setting, known)}")
    try:
        return kind(**{field: _hashable(value) for field, value in (settings or {}).items()})
    except (TypeError, ValueError) as error:
        raise UsageError(f"{name}: settings that the probe does not take ({error})") from error


def _hashable(value: Any) -> Any:
    """Lists of a JSON file as the tuples of a frozen dataclass."""
    return (
        tuple(_hashable(item) for item in value)
        if isinstance(value, Sequence) and not isinstance(value, str)
        else value
    )
