"""One item: a checkpoint that is opened at most once, and every probe on it. All that goes wrong comes back as text."""

from __future__ import annotations

import sys
from functools import partial

from ...data.errors import OutputError
from ...models.subject import Subject
from ...probes.parts import Parts
from ...probes.probe import Probe
from ..reports.command import dtype_name
from ..reports.provenance import identified, key
from ..reports.records import json_value
from ..reports.report import Report
from ..reports.threads import threads_set
from ..runs.parts import unfinished
from ..runs.running import checked_batch_size, finished, run, source_record
from ..runs.together import Measurements
from .finding import Answers, finished_item, identity_for, probes_of
from .identity import IdentityCache, Known
from .opening import opened
from .room import free_bytes, too_large
from .state import SweepFolder
from .tasks import ItemResult, ItemTask, failure_by


def work(task: ItemTask) -> ItemResult:
    """Measure what is not finished of an item. Raises no exception, whatever happens."""
    try:
        with threads_set(task.threads, task.threads):
            return finished_item(task, _to_log, draw=True) or _measured(task)
    except Exception as error:
        return ItemResult(task.item, error=failure_by(error))


def _measured(task: ItemTask) -> ItemResult:
    """Open the checkpoint, and measure with each probe what is not finished."""
    subject, answers, probes = _opened(task), Answers(task), probes_of(task)
    wanted = [(probe, subject) for probe in probes]
    free = free_bytes(subject.device.type)
    measurements = Measurements(wanted, partial(_parts, task), task.seed, task.batch_size, free)
    for probe in probes:
        try:
            _answer(probe, subject, answers, measurements)
        except OutputError:
            raise
        except Exception as error:  # the other probes have nothing to do with it
            answers.error = answers.error or failure_by(error)
    return answers.result()


def _parts(task: ItemTask, probe: Probe, subject: Subject) -> Parts | None:
    """What is there of a measurement; None where it is finished, or cannot fit into memory."""
    if too_large(task, subject, probe) is not None:
        return None
    return unfinished(task.out, subject, probe, task.seed, task.batch_size, task.force)


def _answer(probe: Probe, subject: Subject, answers: Answers, measurements: Measurements) -> None:
    task = answers.task
    drawn = task.seed, checked_batch_size(probe, task.seed, task.batch_size)
    if not task.force and (there := finished(task.out, subject, probe, *drawn, say=_to_log)):
        return answers.found(probe, there)
    kept = measurements.begin(probe, subject)
    if (failure := too_large(task, subject, probe)) is not None:
        answers.error = answers.error or failure
        return None
    report = run(subject, probe, *drawn, kept=kept)
    if isinstance(report, Report):
        return answers.made(probe, report)
    SweepFolder(task.out).skip(key(subject, probe, *drawn), probe.name, subject.source.label, report.reason)
    return answers.refused(probe, report.reason)


def _opened(task: ItemTask) -> Subject:
    """The checkpoint. What identifies it is noted, so that the next sweep knows it without opening it."""
    identity = identity_for(task)  # before: a file that is replaced meanwhile must not be taken for this one
    subject = opened(task)
    if identified(subject.source):
        IdentityCache(task.out).put(identity, Known(json_value(source_record(subject.source)), dtype_name(subject)))
    return subject


def _to_log(why: str) -> None:
    print(why, file=sys.stderr)
