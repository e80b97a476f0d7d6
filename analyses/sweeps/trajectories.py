"""The reports over steps and seeds of a sweep, from the finished reports of its checkpoints. Nothing is measured again.

A checkpoint is opened only for measures that need several seeds of a step together (`Probe.between`).
"""

from __future__ import annotations

import re
import shutil
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from ...models.subject import Subject
from ...probes.probe import Probe
from ..reports.code import code_sha256
from ..reports.escaping import slug
from ..reports.overview import head_of
from ..reports.provenance import family_key
from ..reports.records import json_value
from ..reports.report import Report
from ..reports.saving import lacks_figures
from ..runs.family import family_report
from ..runs.running import checked_batch_size, probe_named, reusable, source_record
from .items import Item
from .notes import read_note, write_note
from .opening import opened
from .plans import Plan
from .remembering import Kept, Remembered, marked, with_notes
from .state import Row, digest_of

MOST_NOTED = 12
"""Failures that a report names one by one."""
Say = Callable[[str], None]


def reports_over(plan: Plan, rows: Sequence[Row], figures: str, say: Say) -> list[Path]:
    """The folders of the reports over several checkpoints: for each probe one over those of one architecture, as `run`
    makes them. A checkpoint that is alone there gets all its figures.

    say:  is told why there is no report over checkpoints that are finished
    """
    kept_in, folders = cache(Kept.of), []
    for name, settings in plan.template.probes:
        over = _Over(plan, probe_named(name, settings), figures, say)
        there = [(row, place) for row in rows if (place := row.reports.get(name))]
        members = [Remembered(row, kept_in(Path(plan.template.out, place))) for row, place in there]
        for group in _of_one_architecture(members):
            failed = _failed_beside(group, rows, name)
            kept, left_out = marked(group)
            if len(kept) > 1:
                folders += over.published(kept, (*left_out, *failed))
            elif not failed:
                over.complete(kept[0].kept.folder)
    return folders


def _of_one_architecture(members: Iterable[Remembered]) -> list[list[Remembered]]:
    groups: dict[str, list[Remembered]] = {}
    for member in members:
        groups.setdefault(repr(sorted(member.source.facts.items())), []).append(member)
    return list(groups.values())


def _failed_beside(group: Sequence[Remembered], rows: Sequence[Row], probe: str) -> list[str]:
    """A sentence of each failure among the models of a group, where it cost this probe's report. Of what did not open
    nobody knows the architecture.
    """
    models = {member.item.model for member in group}
    lacking = (row for row in rows if row.item.model in models and probe not in row.reports)
    found = [(row.item, row.failure) for row in lacking if row.failure]
    said = [f"{step_in_words(item)} failed: {failure.sentence}" for item, failure in found]
    more = [f"{len(said) - MOST_NOTED} more checkpoints failed"] if len(said) > MOST_NOTED else []
    return [*said[:MOST_NOTED], *more]


def step_in_words(item: Item) -> str:
    """`seed 0, step 512` of a family, `step 512` of a hub id; else what the item is called."""
    if item.revision is None:
        return item.label
    return item.revision.replace("-step", ", step").replace("seed", "seed ").replace("step", "step ")


@dataclass(frozen=True)
class _Over:
    """Makes the reports of one probe over several checkpoints."""

    plan: Plan
    probe: Probe
    figures: str
    say: Say

    def published(self, members: Sequence[Remembered], notes: Sequence[str]) -> list[Path]:
        """The report's folder, found or made; nothing where members were measured by other sources than these."""
        if any(m.kept.provenance["code_sha256"] != code_sha256(type(self.probe)) for m in members):
            self.say(f"{self.probe.name}: some checkpoints were measured by other sources; run their share again")
            return []
        members[-1].source = with_notes(members[-1].source, *notes)
        folder = self._found(members)
        made = folder is None
        folder = folder or self._made(members)
        self._replace_earlier(members, folder, made)
        return [folder]

    def complete(self, folder: Path) -> None:
        """Draw what a report lacks."""
        if lacks_figures(folder, self.figures):
            Report.load(folder).save(self.plan.template.out, self.figures)

    def _found(self, members: Sequence[Remembered]) -> Path | None:
        """The report that is there, if it says of its checkpoints what this one would."""
        label = "+".join(dict.fromkeys(member.source.name for member in members))
        key = family_key([member.kept.key for member in members])
        place = Path(self.plan.template.out, slug(label), slug(self.probe.name), key)
        folder = None if self.plan.template.force else reusable(place, self.say)
        if folder is None:
            return None
        if head_of(folder)[0]["sources"] != [json_value(source_record(member.source)) for member in members]:
            return None
        self.complete(folder)
        return folder

    def _made(self, members: Sequence[Remembered]) -> Path:
        begun, task = time.perf_counter(), self.plan.template
        batch_size = checked_batch_size(self.probe, task.seed, task.batch_size)
        reports = [member.kept.report for member in members]
        report = family_report(self._subjects(members), reports, self.probe, task.seed, batch_size, begun)
        # what an open subject says besides, such as how a language model's sequences begin
        made = replace(report, provenance={**reports[0].provenance, **report.provenance})
        return made.save(task.out, self.figures)

    def _subjects(self, members: Sequence[Remembered]) -> list[Subject]:
        """The members; where the probe asks several of a step together, those are opened."""
        steps = Counter(member.source.step for member in members)
        together = type(self.probe).between is not Probe.between
        return [self._opened(m) if together and steps[m.source.step] > 1 else m for m in members]

    def _opened(self, member: Remembered) -> Subject:
        subject = opened(replace(self.plan.task(member.item), dtype=member.kept.provenance["dtype"]))
        subject.source = member.source
        return subject

    def _replace_earlier(self, members: Sequence[Remembered], folder: Path, made: bool) -> None:
        """Remove the report of ours that this one takes the place of: over fewer checkpoints, while some had failed."""
        out = Path(self.plan.template.out)
        models = {member.item.model for member in members}
        planned = sorted(item.name for item in self.plan.items if item.model in models)
        of = digest_of(
            {"asked": self.plan.asked, "probe": self.probe.name, "items": planned, "of": members[0].source.facts}
        )
        path, place = out / ".sweep" / "over" / f"{of}.json", folder.relative_to(out).as_posix()
        earlier = str((read_note(path) or {}).get("folder"))
        if earlier == place:
            return
        if re.fullmatch(rf"[^/.][^/]*/{re.escape(slug(self.probe.name))}/[0-9a-f]{{16}}", earlier):
            shutil.rmtree(out / earlier, ignore_errors=True)
        if made:
            write_note(out, path, {"folder": place})
