"""One probe along one training: a report at each measured step, and one over the steps so far."""

from __future__ import annotations

import copy
import shutil
import time
import warnings
from dataclasses import replace
from pathlib import Path

from ...models.subject import NotApplicable, Source, Subject
from ...probes.probe import Probe
from ..reports.report import Report
from .family import family_report
from .running import checked_batch_size, run, source_record

MOST_LISTED = 12
"""Steps that a note lists one by one."""


class Trajectory:
    """What one probe finds while a model trains. All of it is below `out` after each measured step."""

    def __init__(self, probe: Probe, seed: int, out: Path) -> None:
        self.probe = probe
        self.seed = seed
        self.out = out
        self.batch_size = checked_batch_size(probe, seed, None)
        self._measured: list[tuple[Source, Report]] = []
        self._subject: Subject | None = None
        self._missed: dict[str, list[int]] = {}
        self._begun = time.perf_counter()
        self._so_far: Path | None = None  # the report over all steps that the next one replaces

    def measure(self, subject: Subject, step: int) -> None:
        """Measure one step, and save its report and the one over the steps so far. See `fail` for errors."""
        try:
            answer = run(subject, self.probe, self.seed, self.batch_size)
            if isinstance(answer, NotApplicable):
                self.miss(step, f"not applicable: {answer.reason}")
                return
            # read again: nothing in it is then a view of weights that go on changing
            member = Report.load(answer.save(self.out, figures="none"))
            self._measured.append((subject.source, member))
            self._subject = subject
            if len(self._measured) > 1:
                self._publish("none")
        except Exception as error:
            self.fail(step, error)

    def fail(self, step: int, error: Exception) -> None:
        """Note an error. It ends the training only where no step has been measured before; later it is a warning."""
        if not self._measured:
            raise error
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        warnings.warn(f"{self.probe.name}: step {step}: {reason}", RuntimeWarning, stacklevel=2)
        self.miss(step, reason)

    def miss(self, step: int, reason: str) -> None:
        """Note a step that was due and has no report."""
        self._missed.setdefault(reason, []).append(step)

    def finish(self) -> Report | NotApplicable:
        """Save the report over all measured steps, with figures; of a single step, that step's own."""
        if not self._measured:
            return NotApplicable("; ".join(self._missed))
        return self._publish("paper")

    def _publish(self, figures: str) -> Report:
        """Save the report over the steps so far in place of the one before."""
        report = self._report()
        folder = self.out / report.folder
        ours = folder == self._so_far or not folder.exists()  # never remove what somebody else has left there
        report.save(self.out, figures)
        if self._so_far is not None and self._so_far != folder:
            shutil.rmtree(self._so_far, ignore_errors=True)
        self._so_far = folder if ours else None
        return report

    def _report(self) -> Report:
        sources, members = zip(*self._measured, strict=True)
        last = replace(sources[-1], notes=(*sources[-1].notes, *self._notes()))
        if len(members) == 1:
            claim = self.probe.claim(members[0].measures, (last,))
            return replace(members[0], sources=(source_record(last),), claim=claim)
        subjects = [self._named(source) for source in (*sources[:-1], last)]
        return family_report(subjects, members, self.probe, self.seed, self.batch_size, self._begun)

    def _named(self, source: Source) -> Subject:
        """The subject under the name of another step: a report over steps asks how it computes, not for its weights."""
        subject = copy.copy(self._subject)
        assert subject is not None, "a step has been measured"
        subject.source = source
        return subject

    def _notes(self) -> tuple[str, ...]:
        measured = {source.step for source, _ in self._measured}
        missed = {why: [step for step in steps if step not in measured] for why, steps in self._missed.items()}
        return tuple(
            f"{_listed(steps)} due while training and not measured: {why}" for why, steps in missed.items() if steps
        )


def _listed(steps: list[int]) -> str:
    if len(steps) > MOST_LISTED:
        return f"{len(steps):,} steps from {steps[0]} to {steps[-1]} were"
    return f"step {steps[0]} was" if len(steps) == 1 else f"steps {', '.join(map(str, steps))} were"
