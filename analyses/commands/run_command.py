"""`mesascope run`: checkpoints in, reports out. One report a checkpoint, and one over several of one architecture."""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, get_args, get_origin, get_type_hints

import torch

from ...data.errors import MesascopeError, UsageError
from ...models.opening.loading import load_all
from ...models.subject import NotApplicable, Subject
from ...probes import registered
from ...probes.probe import Probe, Progress
from ..reports.report import Report
from ..runs.family import family_report, finished_family, in_order
from ..runs.running import checked_batch_size, finished, probe_named, run
from .arguments import SETTING_FLAGS, RunOptions
from .progress import part, progress_bar
from .showing import print_card, print_report, report_summary, title
from .terminal import complain, print_json, print_table, printable

DEVICES = ("cpu", "cuda", "mps")
PYTHON_AND_TORCH = 400_000_000
"""Bytes of a process that has everything imported, measured."""


@dataclass(frozen=True)
class Job:
    """One probe on checkpoints of one architecture."""

    probe: Probe
    subjects: tuple[Subject, ...]


@dataclass
class Outcome:
    """What became of it all."""

    reports: list[dict[str, Any]] = field(default_factory=list)
    not_applicable: list[dict[str, Any]] = field(default_factory=list)
    failures: list[MesascopeError] = field(default_factory=list)

    @property
    def exit_code(self) -> int:
        """0, 1 when only some items failed, or the code of the first failure when nothing else happened."""
        if not self.failures:
            return 0
        return 1 if self.reports or self.not_applicable else self.failures[0].exit_code


def run_command(options: RunOptions) -> int:
    outcome = Outcome()
    probes = chosen_probes(options)
    jobs = planned(probes, opened(options, outcome), outcome)
    say = _speaker(options)
    for skipped in outcome.not_applicable:
        others = ", ".join(skipped["applies"]) or "no probe there is"
        say(f"{skipped['probe']} on {skipped['label']}: not applicable: {skipped['reason']}; what applies: {others}")
    if options.dry_run:
        return _dry_run(jobs, options, outcome)
    if jobs:
        refuse_unwritable(Path(options.output_dir))
    for job in jobs:
        try:
            for report, folder, again in carried_out(job, options):
                outcome.reports.append({**report_summary(report, folder), "found_again": again})
                _tell(report, folder, again, options, alone=len(job.subjects) == 1)
        except MesascopeError as error:
            _failed(error, outcome, alone=len(jobs) == 1)
    if options.json:
        _print_outcome(outcome)
    return outcome.exit_code


# -- what is asked for ------------------------------------------------------------------------------------------------


def chosen_probes(options: RunOptions) -> list[Probe]:
    """The probes that were named, or all, each with those of the given settings that it has."""
    flags = {name: value for name in SETTING_FLAGS if (value := getattr(options, name)) is not None}
    given = {**options.probe_args, **flags}
    defaults = {name: probe_named(name) for name in dict.fromkeys(options.probe or registered())}
    # a setting that no probe has is left in, to be refused by name
    strangers = {setting for setting in given if not any(setting in vars(probe) for probe in defaults.values())}
    return [
        probe_named(name, {s: fitted(probe, s, v) for s, v in given.items() if s in strangers or s in vars(probe)})
        for name, probe in defaults.items()
    ]


def fitted(probe: Probe, setting: str, value: Any) -> Any:
    """A setting in the type its field declares: a whole number for a float is one. UsageError for what cannot be."""
    hint = get_type_hints(type(probe)).get(setting, Any)
    kinds = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    lists = [get_args(kind)[0] for kind in kinds if get_origin(kind) is tuple]
    plain = [kind for kind in kinds if get_origin(kind) is not tuple]
    if not {*lists, *plain} <= {bool, int, float, str, NoneType}:
        return value
    if type(value) in plain or _is_list_of(lists, value):
        return value
    for kind, accepted in ((float, int), (str, int | float)):
        if kind in plain and isinstance(value, accepted) and not isinstance(value, bool):
            return kind(value)
    names = [f"[{kind.__name__}, …]" for kind in lists]
    names += ["none" if kind is NoneType else kind.__name__ for kind in plain]
    raise UsageError(f"{probe.name}: setting {setting} = {value!r}: expected {' or '.join(names)}")


def _is_list_of(kinds: Sequence[type], value: Any) -> bool:
    return isinstance(value, list | tuple) and any(all(type(v) in (kind, int) for v in value) for kind in kinds)


def opened(options: RunOptions, outcome: Outcome) -> list[Subject]:
    """Every checkpoint asked for, each once. One that is refused does not stop the others."""
    how: dict[str, Any] = {
        "layout": options.layout,
        "model_config": options.model_config,
        "model_args": options.model_args,
        "device": checked_device(options.device),
        "dtype": getattr(torch, options.dtype) if options.dtype else None,
    }
    found: dict[tuple[str, str | None], Subject] = {}
    for model in options.models:
        try:
            for revision in options.revisions or (None,):
                for subject in load_all(model, revision, **how):
                    found[subject.source.label, subject.source.path] = subject
        except MesascopeError as error:
            _failed(error, outcome, alone=len(options.models) == 1)
    return list(found.values())


def checked_device(name: str) -> torch.device:
    """A device that exists here. UsageError says which do."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    usable = ", ".join(kind for kind in DEVICES if there[kind])
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise UsageError(f"--device {name!r} is not known; usable here: {usable}") from error
    count = torch.cuda.device_count() if device.type == "cuda" else 1
    if not there.get(device.type) or (device.index or 0) >= count:
        raise UsageError(f"--device {name!r} cannot be used on this machine; usable here: {usable}")
    return device


def planned(probes: Sequence[Probe], subjects: Sequence[Subject], outcome: Outcome) -> list[Job]:
    """Checkpoints of one architecture together, for each probe that applies to them."""
    jobs: list[Job] = []
    for probe in probes:
        groups: dict[str, list[Subject]] = {}
        for subject in subjects:
            refusal = probe.applies(subject)
            if isinstance(refusal, NotApplicable):
                skipped = {"probe": probe.name, "label": subject.source.label, "reason": refusal.reason}
                outcome.not_applicable.append({**skipped, "applies": applicable(subject)})
            else:
                groups.setdefault(repr(sorted(subject.source.facts.items())), []).append(subject)
        jobs += [Job(probe, tuple(in_order(group))) for group in groups.values()]
    return jobs


def applicable(subject: Subject) -> list[str]:
    """The probes that can measure a subject, with their own settings."""
    return [name for name in registered() if probe_named(name).applies(subject) is None]


def refuse_unwritable(out: Path) -> None:
    """Better now than after the measurement."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=out):
            pass
    except OSError as error:
        raise UsageError(f"--output-dir {out}: cannot be written ({error.strerror or error})") from error


# -- doing it ---------------------------------------------------------------------------------------------------------


def carried_out(job: Job, options: RunOptions) -> list[tuple[Report, Path, bool]]:
    """Reports with their folders, and whether each was found finished; the one over several comes last.

    Each report is saved as soon as it is there, so an interrupted run goes on where it was.
    """
    begun = time.perf_counter()
    jobs, drawn = len(job.subjects), _draw(job, options)
    done: list[tuple[Report, Path, bool]] = []
    with progress_bar(options.quiet) as progress:
        for index, subject in enumerate(job.subjects):
            there = None if options.force else finished(options.output_dir, subject, job.probe, *drawn)
            watched = part(progress, index, jobs, subject.source.label)
            done.append(_found_or_made(there, options, watched, lambda p, s=subject: _measured(s, job, options, p)))
        if jobs > 1:
            members = [report for report, _, _ in done]
            there = None if options.force else finished_family(options.output_dir, job.subjects, job.probe, *drawn)

            def over_all(progress: Progress) -> Report:
                progress("over all checkpoints", 1.0)
                return family_report(job.subjects, members, job.probe, *drawn, begun)

            done.append(_found_or_made(there, options, progress, over_all))
    return done


def _draw(job: Job, options: RunOptions) -> tuple[int, int]:
    return options.seed, checked_batch_size(job.probe, options.seed, options.batch_size)


def _found_or_made(
    there: Path | None, options: RunOptions, progress: Progress, make: Callable[[Progress], Report]
) -> tuple[Report, Path, bool]:
    if there is not None:
        report = Report.load(there)
        # figures may be wanted now that were not when the numbers were made
        wanted = options.figures != "none" and not (there / "figures").is_dir()
        return report, report.save(options.output_dir, options.figures) if wanted else there, True
    report = make(progress)
    progress("writing the report", 1.0)
    return report, report.save(options.output_dir, figures=options.figures), False


def _measured(subject: Subject, job: Job, options: RunOptions, progress: Progress) -> Report:
    answer = run(subject, job.probe, *_draw(job, options), progress)
    if isinstance(answer, NotApplicable):
        raise UsageError(f"{job.probe.name} on {subject.source.label}: not applicable: {answer.reason}")
    return answer


def _dry_run(jobs: Sequence[Job], options: RunOptions, outcome: Outcome) -> int:
    rows = [_prospect(job, subject, options) for job in jobs for subject in job.subjects]
    if options.json:
        skipped = outcome.not_applicable
        print_json({"would_run": rows, "not_applicable": skipped, "failed": _messages(outcome)})
    else:
        print_table("would run", rows)
    return outcome.exit_code


def _prospect(job: Job, subject: Subject, options: RunOptions) -> dict[str, Any]:
    there = None if options.force else finished(options.output_dir, subject, job.probe, *_draw(job, options))
    needed = job.probe.memory(subject)
    return {
        "probe": job.probe.name,
        "checkpoint": subject.source.label,
        "memory": "unknown" if needed is None else f"about {(PYTHON_AND_TORCH + needed) / 1e9:.1f} GB",
        "finished": str(there) if there else "no",
    }


# -- saying it --------------------------------------------------------------------------------------------------------


def _speaker(options: RunOptions) -> Callable[[str], None]:
    """Where remarks go: nowhere when quiet; to stderr when stdout is for data."""

    def say(text: str) -> None:
        if not options.quiet:
            print(printable(text), file=sys.stderr if options.json else sys.stdout)

    return say


def _tell(report: Report, folder: Path, again: bool, options: RunOptions, alone: bool) -> None:
    """The card of a single checkpoint or of the whole family; of a family's member only where its report is."""
    if options.json:
        return
    of_interest = alone or report.members
    if options.verbose and of_interest:
        print_report(report, folder)
    elif of_interest and not options.quiet:
        print_card(report)
    remark = " (found finished)" if again else ""
    print(printable(str(folder) if options.quiet else f"{title(report)}: {folder / 'report.html'}{remark}"))


def _failed(error: MesascopeError, outcome: Outcome, alone: bool) -> None:
    """One of several is complained about and the others go on; the only one ends the command."""
    if alone:
        raise error
    complain(error)
    outcome.failures.append(error)


def _messages(outcome: Outcome) -> list[str]:
    return [str(error) for error in outcome.failures]


def _print_outcome(outcome: Outcome) -> None:
    skipped, failed = outcome.not_applicable, _messages(outcome)
    print_json({"reports": outcome.reports, "not_applicable": skipped, "failed": failed})
