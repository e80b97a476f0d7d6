"""One probe on one checkpoint: a report."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from ...data.errors import UsageError
from ...data.settings import read_settings
from ...models.subject import NotApplicable, Source, Subject
from ...probes import probe_class
from ...probes.parts import Parts
from ...probes.probe import Probe, Progress, silent
from ..reports.code import source_state
from ..reports.digests import edit_notice
from ..reports.escaping import slug
from ..reports.intact import made_with
from ..reports.provenance import identified, key, provenance
from ..reports.record import Record
from ..reports.report import Report


def run(
    subject: Subject,
    probe: Probe,
    seed: int = 0,
    batch_size: int | None = None,
    progress: Progress = silent,
    kept: Parts | None = None,
) -> Report | NotApplicable:
    """Measure one checkpoint. A probe that does not apply answers why, which is no error.

    seed:        of everything that is drawn
    batch_size:  tasks or sequences in one forward pass; None: the probe's own number
    kept:        parts of this measurement that are finished; None: there are none
    """
    batch_size = checked_batch_size(probe, seed, batch_size)
    if (refusal := probe.applies(subject)) is not None:
        return refusal
    begun = time.perf_counter()
    findings = probe.measure_in_parts(subject, seed, batch_size, Parts() if kept is None else kept, progress)
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
        examples=findings.examples,
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
    out: str | Path,
    subject: Subject,
    probe: Probe,
    seed: int = 0,
    batch_size: int | None = None,
    say: Callable[[str], None] = lambda why: None,
) -> Path | None:
    """The folder of a finished report of exactly this run below `out`, if there is one to reuse.

    None also where nothing must be reused: with changed sources, and for a subject that hides its weights.

    say:  is told in a sentence why a report that is there is not reused: it was edited, is damaged or of another format
    """
    if not identified(subject.source):
        return None
    batch_size = checked_batch_size(probe, seed, batch_size)
    folder = Path(slug(subject.source.label), slug(probe.name), key(subject, probe, seed, batch_size))
    return reusable(Path(out) / folder, say)


def clean_sources() -> bool:
    """Whether our sources do not differ from their commit. To ask git takes longer than to read a report."""
    return not source_state()["dirty"]


def reusable(folder: Path, say: Callable[[str], None], clean: bool | None = None) -> Path | None:
    """`folder`, when an unchanged report is there and neither its sources nor ours differ from their commit.

    clean:  what `clean_sources` answers, where somebody has asked already
    """
    if not folder.is_dir() or not (clean_sources() if clean is None else clean):
        return None
    if (provenance := made_with(folder)) is not None:  # the rule, in a tenth of the time
        return None if provenance["environment"]["dirty"] else folder
    try:
        report = Record.load(folder)
    except UsageError as error:
        say(f"measuring again instead of reusing what is there: {error}")
        return None
    if report.provenance["environment"]["dirty"]:
        return None
    if report.edited:
        say(f"measuring again instead of reusing what is there: {edit_notice(folder, report.edited)}")
        return None
    return folder


def probe_named(name: str, settings: Mapping[str, Any] | None = None, text: bool = False) -> Probe:
    """A registered probe with these settings; `text`: as the command line gives them, see `read_settings`.

    Raises UsageError for an unknown name, an unknown setting, and a value that a setting cannot have.
    """
    kind = probe_class(name)
    try:
        return read_settings(kind, settings or {}, f"{name}: ", text)
    except ValueError as error:
        raise UsageError(f"{name}: does not take these settings ({error})") from error
