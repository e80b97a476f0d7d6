"""`mesascope run`: checkpoints in, reports out. One report a checkpoint, and one over several of one architecture."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch

from ...data.errors import MesascopeError, UsageError
from ...models.subject import NotApplicable, Subject
from ...probes.parts import Parts
from ...probes.probe import Cost, Probe, weights_in_bytes
from ..reports.report import Report
from ..reports.saving import lacks_figures, made_folder, number_of_files
from ..reports.threads import blas_threads
from ..runs.estimating import FIGURE_FILES, about_time, in_words, stated_speed, timed_speed
from ..runs.family import family_report, finished_family
from ..runs.parts import forget_parts, unfinished
from ..runs.running import checked_batch_size, finished, run
from ..runs.threads import not_set
from ..runs.together import Measurements, memory_together, shared_passes
from .kept_index import kept_index
from .planning import (
    Job,
    Outcome,
    chosen_probes,
    note_only_named,
    opened,
    opening_threads,
    planned,
    probes_only_named,
    refusals,
)
from .progress import Reporter, progress_bar, share_of
from .run_options import RunOptions
from .showing import print_card, print_report, report_summary, title
from .terminal import print_json, print_table, printable, sentence, warn

PYTHON_AND_TORCH, TRANSFORMERS = 420_000_000, 115_000_000
"""Bytes of a process that has everything imported, and what transformers adds where it is; measured."""
Saved = tuple[Report, Path, bool]
"""A report, its folder, and whether it was found finished."""


def run_command(options: RunOptions) -> int:
    """Run the chosen probes on every checkpoint and return the exit code."""
    outcome = Outcome()
    probes = chosen_probes(options)
    with opening_threads(options.threads):
        subjects = opened(options, outcome)
        jobs = planned(options, probes, subjects, outcome)
    if options.dry_run:
        note_only_named(probes_only_named(options), subjects, outcome)
        return _dry_run(jobs, options, outcome)
    for line in remarks(options, subjects, jobs, outcome):
        _remark(line, options)
    if jobs:
        with _output_folder(Path(options.output_dir)):
            _measure_all(jobs, options, outcome)
    index = kept_index(Path(options.output_dir)) if outcome.reports else None
    if options.json:
        skipped = outcome.not_applicable
        found = {"reports": outcome.reports, "not_applicable": skipped, "failed": outcome.messages}
        print_json({**found, "index": None if index is None else str(index)})
    elif index is not None:
        _remark(f"All reports in {options.output_dir}: {index}", options)
    return outcome.exit_code


@contextmanager
def _output_folder(out: Path) -> Iterator[None]:
    """UsageError for a folder that cannot be written: better now than after the measurement. No empty one stays."""
    with ExitStack() as stack:
        try:
            stack.enter_context(made_folder(out))
            with tempfile.TemporaryFile(dir=out):
                pass
        except OSError as error:
            raise UsageError(f"--output-dir {out}: cannot be written ({error.strerror or error})") from error
        yield


# -- measuring --------------------------------------------------------------------------------------------------------


def _measure_all(jobs: Sequence[Job], options: RunOptions, outcome: Outcome) -> None:
    wanted = [(job.probe, subject) for job in jobs for subject in job.subjects]
    measurements = Measurements(wanted, partial(_parts, options), options.seed, options.batch_size)
    for job in jobs:
        try:
            with job.threads(options.threads):
                done = carried_out(job, options, measurements)
            for report, folder, again in done:
                outcome.reports.append({**report_summary(report, folder), "found_again": again})
                _print_result(report, folder, again, options, alone=len(job.subjects) == 1)
        except MesascopeError as error:
            outcome.failed(error, only_item=len(jobs) == 1)


def _parts(options: RunOptions, probe: Probe, subject: Subject) -> Parts | None:
    return unfinished(options.output_dir, subject, probe, options.seed, options.batch_size, options.force)


def carried_out(job: Job, options: RunOptions, measurements: Measurements) -> list[Saved]:
    """Reports of every checkpoint; the one over several comes last.

    Each report is saved as soon as it is there, so an interrupted run goes on where it was.
    """
    begun = time.perf_counter()
    n, drawn = len(job.subjects), _seed_and_batch(job, options)
    done: list[Saved] = []
    with progress_bar(options.quiet) as progress:
        for index, subject in enumerate(job.subjects):
            there = None if options.force else finished(options.output_dir, subject, job.probe, *drawn, say=warn)
            watched = share_of(progress, index, n, subject.source.label)
            make = partial(_measured, subject, job, options, measurements)
            done.append(_found_or_made(there, options, _figures(options, n), watched, make))
        if n > 1:
            members = [report for report, _, _ in done]
            over = (options.output_dir, job.subjects, job.probe, *drawn)
            there = None if options.force else finished_family(*over, say=warn)

            def over_all(progress: Reporter) -> Report:
                progress("over all checkpoints", 1.0)
                return family_report(job.subjects, members, job.probe, *drawn, begun)

            done.append(_found_or_made(there, options, options.figures, progress, over_all))
    return done


def _figures(options: RunOptions, n: int) -> str:
    """Which figures one of `n` checkpoints gets: beside a report over them all, the main one as its page shows it."""
    return "main" if n > 1 and options.figures == "paper" else options.figures


def _seed_and_batch(job: Job, options: RunOptions) -> tuple[int, int]:
    return options.seed, checked_batch_size(job.probe, options.seed, options.batch_size)


def _found_or_made(
    there: Path | None, options: RunOptions, figures: str, progress: Reporter, make: Callable[[Reporter], Report]
) -> Saved:
    if there is not None:
        report, folder = Report.load(there), there
        if lacks_figures(there, figures):  # figures may be wanted now that were not when the numbers were made
            folder = report.save(options.output_dir, figures)
    else:
        report = make(progress)
        progress("writing the report", 1.0)
        folder = report.save(options.output_dir, figures)
    forget_parts(options.output_dir, report.key)
    return report, folder, there is not None


def _measured(
    subject: Subject, job: Job, options: RunOptions, measurements: Measurements, progress: Reporter
) -> Report:
    kept = measurements.begin(job.probe, subject, progress)
    answer = run(subject, job.probe, *_seed_and_batch(job, options), progress, kept)
    if isinstance(answer, NotApplicable):
        raise UsageError(f"{job.probe.name} does not apply to {subject.source.label}: {answer.reason}")
    return answer


# -- what would run ---------------------------------------------------------------------------------------------------


def _dry_run(jobs: Sequence[Job], options: RunOptions, outcome: Outcome) -> int:
    """Three groups: what would run, what applies but has to be named, and what does not apply."""
    would_run = []
    for job in jobs:
        try:
            with job.threads(options.threads):
                would_run += _prospects(job, jobs, options)
        except MesascopeError as error:
            outcome.failed(error, only_item=len(jobs) == 1)
    named, skipped = outcome.only_named, outcome.not_applicable
    if options.json:
        groups = {"would_run": would_run, "time": about_time(options.time), "only_when_named": named}
        groups |= {"not_applicable": skipped}
        print_json({**groups, "failed": outcome.messages})
        return outcome.exit_code
    print_table("Would run", list(map(_prospect_in_words, would_run)))
    if would_run:
        print(printable(about_time(options.time)) + "\n")
        for said in dict.fromkeys(row["counted"] for row in would_run if row["counted"]):
            print(printable(said) + "\n")
    if named:
        print_table(
            "Applies, but runs only when named because it is slow",
            [{**row, "add": f"-p {row['probe']}"} for row in named],
        )
    if skipped:
        reasons = [{"probe": s["probe"], "checkpoint": s["label"], "why": sentence(s["reason"])} for s in skipped]
        print_table("Does not apply", reasons)
    return outcome.exit_code


def _prospects(job: Job, jobs: Sequence[Job], options: RunOptions) -> list[dict[str, Any]]:
    """What each checkpoint of a job would take, with the threads of now; with the first comes the report over all.

    jobs:  all of them: they may share passes
    """
    first = job.subjects[0]
    cost = job.probe.cost(first, checked_batch_size(job.probe, options.seed, options.batch_size))
    measuring = None if cost is None else (timed_speed if options.time else stated_speed)(first, cost).seconds(cost)
    rows = [_prospect(job, index, options, cost, measuring) for index in range(len(job.subjects))]
    return [
        row | {"memory_bytes": _with_shared_pass(row["memory_bytes"], job, subject, jobs, options)}
        for row, subject in zip(rows, job.subjects, strict=True)
    ]


def _with_shared_pass(
    alone: int | None, job: Job, subject: Subject, jobs: Sequence[Job], options: RunOptions
) -> int | None:
    """The memory of a measurement, and of the pass that it shares with others."""
    probes = [other.probe for other in jobs if subject in other.subjects]
    for sharing in shared_passes(subject, probes, options.seed, options.batch_size):
        if alone is not None and any(probe is job.probe for probe, _ in sharing):
            return max(alone, _with_libraries(subject, memory_together(subject, sharing)))
    return alone


def _prospect(job: Job, index: int, options: RunOptions, cost: Cost | None, measuring: float | None) -> dict[str, Any]:
    """measuring: seconds of a checkpoint alone."""
    subject, n = job.subjects[index], len(job.subjects)
    of_this = (options.output_dir, subject, job.probe, *_seed_and_batch(job, options))
    there = None if options.force else finished(*of_this, say=warn)
    needed = job.probe.memory(subject)
    seconds = None
    if cost is not None and measuring is not None:
        drawn = [_figures(options, n), *([options.figures] if n > 1 and index == 0 else [])]
        drawing = sum(number_of_files(job.probe.name, kind) for kind in drawn) / FIGURE_FILES
        seconds = drawing + measuring * (1 if index == 0 else 1 - cost.shared)
    return {
        "probe": job.probe.name,
        "checkpoint": subject.source.label,
        "threads": torch.get_num_threads(),
        "memory_bytes": None if needed is None else _with_libraries(subject, needed),
        "seconds": seconds,
        "counted": None if cost is None or not cost.counted else f"{job.probe.name}: {cost.counted}",
        "finished": None if there is None else str(there),
    }


def _prospect_in_words(row: Mapping[str, Any]) -> dict[str, Any]:
    memory, seconds = row["memory_bytes"], row["seconds"]
    return {
        **{name: row[name] for name in ("probe", "checkpoint", "threads")},
        "memory": "unknown" if memory is None else f"about {memory / 1e9:.2g} GB",
        "time": "unknown" if seconds is None else in_words(seconds),
        "finished": row["finished"] or "no",
    }


def _with_libraries(subject: Subject, needed: int) -> int:
    loaded = PYTHON_AND_TORCH + TRANSFORMERS * ("transformers.modeling_utils" in sys.modules)
    return loaded + weights_in_bytes(subject) + needed


# -- printing ---------------------------------------------------------------------------------------------------------


def remarks(options: RunOptions, subjects: Sequence[Subject], jobs: Sequence[Job], outcome: Outcome) -> list[str]:
    """What could not be set, why a probe does not apply and, of a checkpoint to which none does, what would."""
    skipped = outcome.not_applicable
    lines = not_set(options.threads, blas_threads())
    lines += [f"{s['probe']} does not apply to {s['label']}: {sentence(s['reason'])}" for s in skipped]
    measured = {subject.source.label for job in jobs for subject in job.subjects}
    applying = {s["label"]: s["applies"] for s in skipped}
    for subject in subjects:
        label = subject.source.label
        if label in measured:
            continue
        if found := applying.get(label):
            lines.append(f"Probes that apply to {label}: {', '.join(found)}. Choose one with -p NAME.")
        else:
            lines.append(f"No probe applies to {label} as called.")
            asked = {s["probe"] for s in skipped}
            others = [item for item in refusals(subject, options).items() if item[0] not in asked]
            lines += [f"{name} does not apply either: {sentence(why.reason)}" for name, why in others if why]
    return lines


def _remark(text: str, options: RunOptions) -> None:
    """Remarks go to stderr when stdout is for data, and nowhere when quiet."""
    if not options.quiet:
        print(printable(text), file=sys.stderr if options.json else sys.stdout)


def _print_result(report: Report, folder: Path, again: bool, options: RunOptions, alone: bool) -> None:
    """The card of a single checkpoint or of the whole family; of a family's member only where its report is."""
    if options.json:
        return
    shown = alone or report.members
    if options.verbose and shown:
        print_report(report, folder)
    elif shown and not options.quiet:
        print_card(report)
    remark = " (found finished)" if again else ""
    print(printable(str(folder) if options.quiet else f"{title(report)}: {folder / 'report.html'}{remark}"))
