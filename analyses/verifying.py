"""Make a saved report again, somebody else's too, and say what differs."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from ..data.errors import CheckpointRefused, UsageError
from ..models.catalogue import HAIKU, REMAKEABLE, read_header, shipped
from ..models.opening import load_all
from ..models.subject import Subject
from ..probes.probe import Progress, silent
from .differences import Tolerance, compare_folders
from .family import run_family
from .provenance import model_args
from .report import Record, Report, source_label
from .running import probe_named, run

Verdict = Literal["bit-identical", "within tolerance", "differs", "weights differ"]
TOLERANCES = {"float32": Tolerance(1e-5, 1e-6), "float64": Tolerance(1e-9, 1e-12)}
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
    folder: str | Path,
    weights: str | Path | None = None,
    subject: Subject | Sequence[Subject] | None = None,
    progress: Progress = silent,
) -> Verification:
    """Run a saved report again as it was recorded, in a temporary folder, and compare field by field.

    weights:  the checkpoint (or a folder of checkpoints), when it is not where the report says
    subject:  what was in memory when the report was made, one or several
    """
    folder = Path(folder)
    report = Report.load(folder)
    tolerance = _tolerance(report)
    try:
        subjects = _given(report, subject) if subject is not None else _found(report, weights)
    except WeightsDifferError as difference:
        return Verification("weights differ", (str(difference),), str(tolerance))
    with tempfile.TemporaryDirectory(prefix="mesascope-") as name, _threads(report):
        again = _run_again(report, subjects, progress)
        if not isinstance(again, Report):
            return Verification("differs", (f"the probe does not apply any more: {again.reason}",), str(tolerance))
        drawn, kept = _drawn(folder), report.sample["kept"] if report.sample else _ALL
        made = again.save(Path(name, "again"), drawn, kept)
        found = compare_folders(folder, made, lambda: report.save(Path(name, "recorded"), drawn, _ALL), tolerance)
    verdict: Verdict = "differs" if found.beyond else "within tolerance" if found.excused else "bit-identical"
    return Verification(verdict, (*found.beyond, *found.excused), str(tolerance))


def verify_report(report: Report, weights: str | Path | None, subject: Any) -> Verification:
    """The same for a report in memory."""
    with tempfile.TemporaryDirectory(prefix="mesascope-") as name:
        return verify(report.save(name, figures="none", keep_samples=_ALL), weights, subject)


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


def _drawn(folder: Path) -> str:
    """With which figures the report was saved."""
    kinds = {path.suffix for path in (folder / "figures").glob("*")}
    return "paper" if ".pdf" in kinds else "png" if ".png" in kinds else "none"


@contextmanager
def _threads(report: Report) -> Iterator[None]:
    """As many threads as were recorded: the order of additions depends on them."""
    before = torch.get_num_threads()
    recorded = report.provenance["environment"]["threads"]
    torch.set_num_threads(recorded if isinstance(recorded, int) and 1 <= recorded <= 1024 else before)
    try:
        yield
    finally:
        torch.set_num_threads(before)


# -- the checkpoints ---------------------------------------------------------------------------------------------------


def _given(report: Report, subject: Subject | Sequence[Subject]) -> list[Subject]:
    """Subjects passed again: as many as there were, with the same weights."""
    subjects = [subject] if isinstance(subject, Subject) else list(subject)
    recorded = sorted(source["weights_sha256"] or "hidden" for source in report.sources)
    passed = sorted(one.source.weights_sha256 or "hidden" for one in subjects)
    if recorded != passed:
        raise WeightsDifferError(f"weights_sha256: recorded {', '.join(recorded)}; passed {', '.join(passed)}")
    return subjects


def _found(report: Report, weights: str | Path | None) -> list[Subject]:
    """Every recorded checkpoint, opened as it was and recognised by the digest of its weights."""
    shelves: dict[str, dict[str | None, Subject]] = {}
    subjects = []
    for source in report.sources:
        if source["layout"] not in REMAKEABLE:
            raise UsageError(
                f"{source_label(source)}: the record alone does not open it (layout {source['layout']!r});"
                " in Python, pass it again: analyses.verify(folder, subject=…)"
            )
        places = _places(source, weights)
        for place in places:
            if place not in shelves:
                shelves[place] = _open(place, source, report)
        holding = [shelves[place] for place in places if source["weights_sha256"] in shelves[place]]
        if not holding:
            raise WeightsDifferError(_why(source, places, shelves))
        subjects.append(_as_recorded(holding[0][source["weights_sha256"]], source))
    return subjects


def _places(source: Record, weights: str | Path | None) -> list[str]:
    """Where a checkpoint may be: where the user says, else where the record says, else among those that ship."""
    if weights is not None:
        folder = Path(weights)
        files = sorted(str(path) for path in folder.glob("*") if path.suffix in {".safetensors", ".npz"})
        return files if folder.is_dir() else [str(weights)]
    place = source["path"] or source["name"]
    if place in shipped() or Path(place).is_file():
        return [place]
    return list(shipped())


def _open(place: str, source: Record, report: Report) -> dict[str | None, Subject]:
    """Every checkpoint of a file by the digest of its weights."""
    device = report.provenance["device"]
    if device not in _DEVICES or (device == "cuda" and not torch.cuda.is_available()):
        raise UsageError(f"the report was made on the device {device!r}, which is not here")
    options: dict[str, Any] = {"device": device, "dtype": getattr(torch, report.provenance["dtype"])}
    if Path(place).suffix == ".npz":
        args = model_args(source["facts"])
        return _by_digest(load_all(place, layout=HAIKU, model_args=args, **options))
    path = shipped().get(place, Path(place))
    return _by_digest(load_all(place, "all" if read_header(path).members else None, **options))


def _by_digest(subjects: Sequence[Subject]) -> dict[str | None, Subject]:
    return {subject.source.weights_sha256: subject for subject in subjects}


def _why(source: Record, places: Sequence[str], shelves: dict[str, dict[str | None, Subject]]) -> str:
    digests = [digest for place in places for digest in shelves[place]]
    label, recorded = source_label(source), source["weights_sha256"]
    if not Path(source["path"] or source["name"]).is_file() and places == list(shipped()):
        raise CheckpointRefused(
            f"{label}: neither at {source['path'] or source['name']} nor among the shipped checkpoints;"
            " give the file as weights (--weights PATH)"
        )
    found = f"found {digests[0]}" if len(digests) == 1 else f"none of the {len(digests)} found"
    return f"{label}: weights_sha256: recorded {recorded}, {found} in {', '.join(places)}"


def _as_recorded(subject: Subject, source: Record) -> Subject:
    """Called what it was called: a copy may lie elsewhere. How it was read, and its record, stay the file's own."""
    names = ("name", "path", "revision", "seed", "step")
    recorded = {name: source[name] for name in names}
    subject.source = replace(subject.source, **recorded, notes=tuple(source["notes"]))
    return subject
