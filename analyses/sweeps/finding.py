"""What of an item is finished: found by what is known of its checkpoint, which is not opened."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from ...probes.probe import Probe
from ..reports.report import Report
from ..reports.saving import lacks_figures
from ..runs.parts import forget_parts
from ..runs.running import probe_named, reusable
from .identity import Identity, IdentityCache, identity_of
from .keys import folder_of, key_of_known
from .state import Failure, SweepFolder
from .tasks import ItemResult, ItemTask

Say = Callable[[str], None]


@dataclass
class Answers:
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
        forget_parts(self.task.out, folder.name)
        self.reports[probe.name] = folder.relative_to(self.task.out).as_posix()
        self.n_found += 1

    def made(self, probe: Probe, report: Report) -> None:
        report.save(self.task.out, self.task.figures)
        forget_parts(self.task.out, report.key)
        self.reports[probe.name] = report.folder.as_posix()

    def result(self) -> ItemResult:
        """With a note in the output folder, where nothing failed."""
        if self.error is None:
            SweepFolder(self.task.out).finish(self.task.item, self.task.asked, self.reports)
        made = len(self.reports) - len(self.reasons) - self.n_found
        return ItemResult(self.task.item, self.reports, self.reasons, self.n_found, made, self.error)


def finished_item(
    task: ItemTask, say: Say = lambda why: None, draw: bool = False, clean: bool | None = None
) -> ItemResult | None:
    """What became of an item of which every report is finished. None where something is missing, and where nobody knows
    because the checkpoint was never opened.

    say:    is told why a report that is there is not reused
    draw:   whether figures that are wanted, and that a report lacks, are drawn now; else the item is not finished
    clean:  what `clean_sources` answers, where somebody has asked already
    """
    answers = answered(task, say, draw, clean)
    return answers.result() if answers.reports.keys() == {name for name, _ in task.probes} else None


def answered(task: ItemTask, say: Say = lambda why: None, draw: bool = False, clean: bool | None = None) -> Answers:
    """What is finished of an item, be it the reports of some of its probes. Arguments as for `finished_item`."""
    answers, folder = Answers(task), SweepFolder(task.out)
    known = None if task.force else IdentityCache(task.out).get(identity_for(task))
    if known is None:
        return answers
    for probe in probes_of(task):
        its_key = key_of_known(known, probe, task.seed, task.batch_size, task.device)
        if (skipped := folder.skipped(its_key)) is not None:
            answers.refused(probe, skipped.reason)
            continue
        there = reusable(Path(task.out) / folder_of(known, probe, its_key), say, clean)
        if there is not None and (draw or not lacks_figures(there, task.figures)):
            answers.found(probe, there)
    return answers


def identity_for(task: ItemTask) -> Identity:
    return identity_of(task.item, task.layout, task.model_config, task.model_args, task.dtype)


def probes_of(task: ItemTask) -> list[Probe]:
    return [probe_named(name, settings) for name, settings in task.probes]
