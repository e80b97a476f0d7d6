"""Make a saved report again, somebody else's too, and say what differs."""

from __future__ import annotations

import copy
import tempfile
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from ...data.errors import CheckpointRefused, UsageError
from ...models.opening.catalogue import (
    DECLARED,
    HAIKU,
    HUGGING_FACE,
    PREDICTOR_FILE,
    is_declared,
    read_header,
    remakeable,
    shipped,
)
from ...models.opening.file_kinds import PICKLED
from ...models.opening.loading import load_all
from ...models.subject import Subject
from ...probes.probe import Progress, silent
from ..reports.command import told_beside
from ..reports.record import Fields, source_label
from ..reports.report import Report
from ..reports.saving import figures_in
from ..reports.threads import threads_set
from .differences import Tolerance, compare_folders
from .family import run_family
from .predictor_again import predictor_again
from .running import probe_named, run
from .threads import MOST_THREADS

Verdict = Literal["bit-identical", "within tolerance", "differs", "weights differ"]
TOLERANCES = {
    "bfloat16": Tolerance(5e-2, 1e-2),
    "float16": Tolerance(1e-2, 1e-3),
    "float32": Tolerance(1e-5, 1e-6),
    "float64": Tolerance(1e-9, 1e-12),
}
"""Between machines the order of additions differs, and with it the last digits."""
_DEVICES = ("cpu", "cuda", "mps")
_ALL = 10**12


@dataclass(frozen=True)
class Verification:
    """What came of making a report again.

    verdict:      "bit-identical": every byte but the timing; "within tolerance": the same but for other versions of the
                  software and for numbers as close as `tolerance` says; "differs"; "weights differ": nothing was run
    differences:  each field, cell, tensor or file that differs, by name
    """

    verdict: Verdict
    differences: tuple[str, ...]
    tolerance: str


class WeightsDifferError(Exception):
    """The checkpoint is there, but its weights are others."""


def verify(
    report: str | Path | Report,
    weights: str | Path | None = None,
    subject: Subject | Sequence[Subject] | None = None,
    progress: Progress = silent,
    predictor: str | None = None,
) -> Verification:
    """Make a report again as it was recorded, in a temporary folder, and compare field by field.

    report:     a saved report's folder, or a report in memory
    weights:    the checkpoint (or a folder of checkpoints), when it is not where the report says
    subject:    what was in memory when the report was made, one or several
    predictor:  "FILE.py:function", of a report of such a function; the file is run only if it is the recorded one
    """
    if isinstance(report, Report):
        with tempfile.TemporaryDirectory(prefix="mesascope-") as name:
            folder = report.save(name, figures="none", keep_samples=_ALL)
            return verify(folder, weights, subject, progress, predictor)
    folder = Path(report)
    recorded = Report.load(folder)
    tolerance = _tolerance(recorded)
    with tempfile.TemporaryDirectory(prefix="mesascope-") as name, _threads(recorded):
        try:
            subjects = _subjects(recorded, weights, subject, predictor)
        except WeightsDifferError as difference:
            return Verification("weights differ", (str(difference),), str(tolerance))
        again = _run_again(recorded, subjects, progress)
        if not isinstance(again, Report):
            return Verification("differs", (f"the probe no longer applies: {again.reason}",), str(tolerance))
        drawn, kept = figures_in(folder), recorded.sample["kept"] if recorded.sample else _ALL
        made = again.save(Path(name, "again"), drawn, kept)
        found = compare_folders(folder, made, lambda: recorded.save(Path(name, "recorded"), drawn, _ALL), tolerance)
    verdict: Verdict = "differs" if found.beyond else "within tolerance" if found.excused else "bit-identical"
    return Verification(verdict, (*found.beyond, *found.excused), str(tolerance))


def _tolerance(report: Report) -> Tolerance:
    dtype = report.provenance.get("dtype")
    if dtype not in TOLERANCES:
        raise UsageError(f"report.json: provenance.dtype = {dtype!r}, expected one of {', '.join(TOLERANCES)}")
    return TOLERANCES[dtype]


def _run_again(report: Report, subjects: list[Subject], progress: Progress) -> Any:
    probe = probe_named(report.probe, dict(report.settings))
    batch_size = report.provenance["batch_size"]
    if not report.members:
        return run(subjects[0], probe, report.seed, batch_size, progress)
    answer = run_family(subjects, probe, report.seed, batch_size, progress)
    return answer[1] if isinstance(answer, tuple) else answer


def _threads(report: Report) -> AbstractContextManager[None]:
    """As many threads as were recorded: the order of additions depends on them."""
    environment = report.provenance["environment"]
    recorded = [environment.get(name) for name in ("threads", "blas_threads")]
    return threads_set(*(n if type(n) is int and 1 <= n <= MOST_THREADS else None for n in recorded))


# -- the checkpoints ---------------------------------------------------------------------------------------------------


def _subjects(
    report: Report, weights: str | Path | None, subject: Subject | Sequence[Subject] | None, predictor: str | None
) -> list[Subject]:
    if subject is not None:
        return _given(report, subject)
    if predictor is None and all(source["layout"] != PREDICTOR_FILE for source in report.sources):
        return _found(report, weights)
    if weights is not None:
        raise UsageError("--weights of a report of a predictor; leave it out: the model is what --predictor names")
    found, source = predictor_again(report, predictor, _placed(report)), report.sources[0]
    if found.source.weights_sha256 != source["weights_sha256"]:
        raise WeightsDifferError(_why(source, {str(predictor): _by_digest([found])}))
    return [_as_recorded(found, source)]


def _given(report: Report, subject: Subject | Sequence[Subject]) -> list[Subject]:
    """Subjects passed again: as many as there were, with the same weights. Which one is meant, its weights say; the
    name is the caller's.
    """
    subjects = [subject] if isinstance(subject, Subject) else list(subject)
    recorded = sorted((source["weights_sha256"] or "hidden", index) for index, source in enumerate(report.sources))
    passed = sorted((one.source.weights_sha256 or "hidden", index) for index, one in enumerate(subjects))
    digests = [[digest for digest, _ in found] for found in (recorded, passed)]
    if digests[0] != digests[1]:
        raise WeightsDifferError(
            f"weights_sha256: the report has {', '.join(digests[0])}; you passed {', '.join(digests[1])}"
        )
    pairs = [(subjects[j], report.sources[i]) for (_, i), (_, j) in zip(recorded, passed, strict=True)]
    return [_as_recorded(copy.copy(one), source) if source["weights_sha256"] else one for one, source in pairs]


def _found(report: Report, weights: str | Path | None) -> list[Subject]:
    """Every recorded checkpoint, opened as it was and recognised by the digest of its weights."""
    shelves: dict[tuple[str, str | None], dict[str | None, Subject]] = {}
    subjects = []
    for source in report.sources:
        if not remakeable(source["layout"]):
            raise UsageError(
                f"{source_label(source)}: the report does not say how to open it (layout {source['layout']!r});"
                " pass the model in Python: analyses.verify(folder, subject=…)"
            )
        places = [(place, _pinned(source, place)) for place in _places(source, weights)]
        for place in places:
            if place not in shelves:
                shelves[place] = _open(*place, source, report)
        holding = [shelves[place] for place in places if source["weights_sha256"] in shelves[place]]
        if not holding:
            found = {place: shelves[place, revision] for place, revision in places}
            raise WeightsDifferError(_why(source, found))
        subjects.append(_as_recorded(holding[0][source["weights_sha256"]], source))
    return subjects


def _places(source: Fields, weights: str | Path | None) -> list[str]:
    """Where a checkpoint may be: where the user says, else where the record says, else among those that ship."""
    if weights is not None:
        return _below(Path(weights), source["layout"] == HUGGING_FACE) or [str(weights)]
    place = source["path"] or source["name"]
    if place in shipped() or Path(place).exists() or (source["layout"] == HUGGING_FACE and source["path"] is None):
        return [place]
    if source["layout"] not in ("mesascope", HAIKU):
        raise CheckpointRefused(f"{source_label(source)}: no checkpoint at {place}; give its place with --weights PATH")
    return list(shipped())


def _below(folder: Path, directories: bool) -> list[str]:
    """Every checkpoint in a folder: weight files, or directories of their own."""
    if directories:
        return [] if (folder / "config.json").exists() else sorted(str(c.parent) for c in folder.glob("*/config.json"))
    return sorted(str(path) for path in folder.glob("*") if path.suffix in {".safetensors", ".npz", *PICKLED})


def _pinned(source: Fields, place: str) -> str | None:
    """The revision to ask a hub's cache for: the commit that the recorded one was, which no branch moves."""
    of_a_hub = source["layout"] == HUGGING_FACE and not Path(place).exists()
    return (source.get("commit") or source["revision"]) if of_a_hub else None


def _open(place: str, revision: str | None, source: Fields, report: Report) -> dict[str | None, Subject]:
    """Every checkpoint of a file by the digest of its weights."""
    options = _placed(report)
    if source["layout"] == HUGGING_FACE:
        return _by_digest(load_all(place, revision, **options))
    if source["layout"] not in ("mesascope", HAIKU):
        return _by_digest(load_all(place, **_told_again(source), **options))
    if Path(place).suffix == ".npz":
        return _by_digest(load_all(place, **told_beside({**source, "layout": HAIKU}), **options))
    path = shipped().get(place, Path(place))
    return _by_digest(load_all(place, "all" if read_header(path).members else None, **options))


def _placed(report: Report) -> dict[str, Any]:
    """The device and the precision of the report."""
    device = report.provenance["device"]
    if device not in _DEVICES or (device == "cuda" and not torch.cuda.is_available()):
        raise UsageError(
            f"the report was made on device {device!r}, which this machine lacks; verify it on a machine that has one"
        )
    return {"device": device, "dtype": getattr(torch, report.provenance["dtype"])}


def _told_again(source: Fields) -> dict[str, Any]:
    """What the record says of a foreign layout: a declared one by what its file said, which may not be here."""
    try:
        return told_beside({**source, "layout": DECLARED if is_declared(source["layout"]) else source["layout"]})
    except KeyError as error:
        raise UsageError(
            f"report.json: sources.options lacks {error}, which layout {source['layout']!r} needs"
        ) from error


def _by_digest(subjects: Sequence[Subject]) -> dict[str | None, Subject]:
    return {subject.source.weights_sha256: subject for subject in subjects}


def _why(source: Fields, found: dict[str, dict[str | None, Subject]]) -> str:
    places, digests = list(found), [digest for shelf in found.values() for digest in shelf]
    label, recorded = source_label(source), source["weights_sha256"]
    if not Path(source["path"] or source["name"]).exists() and places == list(shipped()):
        raise CheckpointRefused(
            f"{label}: neither at {source['path'] or source['name']} nor among the shipped checkpoints;"
            " give its place with --weights PATH"
        )
    others = f"found {digests[0]}" if len(digests) == 1 else f"none of the {len(digests)} found"
    return f"{label}: weights_sha256: the report has {recorded}, {others} in {', '.join(places)}"


def _as_recorded(subject: Subject, source: Fields) -> Subject:
    """Called what it was called: a copy may lie elsewhere. How it was read, and its record, stay the file's own."""
    names = ["name", "path", "revision", "commit", "seed", "step"]
    names += ["layout"] if subject.source.layout == DECLARED else []  # what its file said was read from the record
    recorded = {name: source[name] for name in names if name in source}
    subject.source = replace(subject.source, **recorded, notes=tuple(source["notes"]))
    return subject
