"""One item: a checkpoint that is opened at most once, and every probe on it. All that goes wrong comes back as text."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch

from ...data.errors import OutputError
from ...models.opening.loading import load_all
from ...models.subject import Subject
from ...probes.probe import Probe
from ..reports.command import dtype_name
from ..reports.provenance import identified, key
from ..reports.records import json_value
from ..reports.report import Report
from ..reports.saving import lacks_figures
from ..reports.threads import threads_set
from ..runs.running import checked_batch_size, finished, probe_named, reusable, run, source_record
from .identity import Identity, IdentityCache, Known, identity_of
from .keys import folder_of, key_of_known
from .state import Failure, SweepFolder
from .tasks import ItemResult, ItemTask, failure_by

Say = Callable[[str], None]


def work(task: ItemTask) -> ItemResult:
    """Measure what is not finished of an item. Raises no exception, whatever happens."""
    try:
        with threads_set(task.threads, task.threads):
            return finished_item(task, _to_log, draw=True) or _measured(task)
    except Exception as error:
        return ItemResult(task.item, error=failure_by(error))


def finished_item(task: ItemTask, say: Say = lambda why: None, draw: bool = False) -> ItemResult | None:
    """What became of an item of which every report is finished. Opens no checkpoint. None where something is missing,
    and where nobody knows because the checkpoint was never opened.

    say:   is told why a report that is there is not reused
    draw:  whether figures that are wanted, and that a report lacks, are drawn now; else the item is not finished
    """
    known = None if task.force else IdentityCache(task.out).get(_identity(task))
    if known is None:
        return None
    answers, folder = _Answers(task), SweepFolder(task.out)
    for probe in _probes(task):
        its_key = key_of_known(known, probe, task.seed, task.batch_size, task.device)
        if (skipped := folder.skipped(its_key)) is not None:
            answers.refused(probe, skipped.reason)
            continue
        there = reusable(Path(task.out) / folder_of(known, probe, its_key), say)
        if there is None or (lacks_figures(there, task.figures) and not draw):
            return None
        answers.found(probe, there)
    return answers.result()


def _measured(task: ItemTask) -> ItemResult:
    """Open the checkpoint, and measure with each probe what is not finished."""
    subject, answers = _opened(task), _Answers(task)
    for probe in _probes(task):
        try:
            _answer(probe, subject, answers)
        except OutputError:
            raise
        except Exception as error:  # the other probes have nothing to do with it
            answers.error = answers.error or failure_by(error)
    return answers.result()


def _answer(probe: Probe, subject: Subject, answers: _Answers) -> None:
    task = answers.task
    drawn = task.seed, checked_batch_size(probe, task.seed, task.batch_size)
    if not task.force and (there := finished(task.out, subject, probe, *drawn, say=_to_log)):
        return answers.found(probe, there)
    report = run(subject, probe, *drawn)
    if isinstance(report, Report):
        return answers.made(probe, report)
    SweepFolder(task.out).skip(key(subject, probe, *drawn), probe.name, subject.source.label, report.reason)
    return answers.refused(probe, report.reason)


@dataclass
class _Answers:
    """What the probes of an item have answered so far."""

    task: ItemTask
    reports: dict[str, str | None] = field(default_factory=dict)
    reasons: dict[str, str] = field(default_factory=dict)
    n_found: int = 0
    error: Failure | None = None

    def refused(self, probe: Probe, reason: str) -> None:
        self.reports[probe.name], self.reasons[probe.name] = None, reason

    def found(self, probe: Probe, folder: Path) -> None:
        """A finished report. Figures may be wanted now that were not when its numbers were made."""
        if lacks_figures(folder, self.task.figures):
            Report.load(folder).save(self.task.out, self.task.figures)
        self.reports[probe.name] = folder.relative_to(self.task.out).as_posix()
        self.n_found += 1

    def made(self, probe: Probe, report: Report) -> None:
        report.save(self.task.out, self.task.figures)
        self.reports[probe.name] = report.folder.as_posix()

    def result(self) -> ItemResult:
        """With a note in the output folder, where nothing failed."""
        if self.error is None:
            SweepFolder(self.task.out).finish(self.task.item, self.task.asked, self.reports)
        made = len(self.reports) - len(self.reasons) - self.n_found
        return ItemResult(self.task.item, self.reports, self.reasons, self.n_found, made, self.error)


def _opened(task: ItemTask) -> Subject:
    """The checkpoint. What identifies it is noted, so that the next sweep knows it without opening it."""
    identity = _identity(task)  # before: a file that is replaced meanwhile must not be taken for this one
    dtype = getattr(torch, task.dtype) if task.dtype else None
    (subject,) = load_all(
        task.item.model,
        task.item.revision,
        layout=task.layout,
        model_config=task.model_config,
        model_args=task.model_args,
        device=task.device,
        dtype=dtype,
    )
    if identified(subject.source):
        IdentityCache(task.out).put(identity, Known(json_value(source_record(subject.source)), dtype_name(subject)))
    return subject


def _identity(task: ItemTask) -> Identity:
    return identity_of(task.item, task.layout, task.model_config, task.model_args, task.dtype)


def _probes(task: ItemTask) -> list[Probe]:
    return [probe_named(name, settings) for name, settings in task.probes]


def _to_log(why: str) -> None:
    print(why, file=sys.stderr)
