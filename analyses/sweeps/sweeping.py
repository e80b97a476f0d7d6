"""`analyses.sweep`: probes on many checkpoints, several at a time, and the reports over their steps and seeds.

Finished report folders are the state. What is there is found again and opens no model, so a sweep that was interrupted
goes on where it was, in whatever shares.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from ...data.errors import OutputError, UsageError
from ...probes.probe import Progress, silent
from ..reports.threads import threads_set
from ..runs.asking import Asked, probe_of
from ..runs.running import clean_sources
from .choosing import engine_named
from .engines import Engine, EngineSettings, Outcome, inline, local
from .finding import answered, finished_item
from .items import Item, items_of
from .over_time import timelines_of
from .plans import Plan, plan_of
from .results import SweepResult
from .revisions import expanded
from .state import Failure
from .tasks import ItemResult, ItemTask
from .trajectories import reports_over
from .work import work

Say = Callable[[str], None]


def sweep(
    models: str | Sequence[str],
    probe: Asked | Sequence[Asked],
    out: str | Path,
    revisions: str | Sequence[str] = (),
    seeds: Sequence[int] = (),
    *,
    seed: int = 0,
    batch_size: int | None = None,
    device: str = "cpu",
    dtype: str | None = None,
    layout: str | None = None,
    model_config: str | None = None,
    model_args: Mapping[str, Any] | None = None,
    figures: str = "paper",
    threads: int | None = 1,
    force: bool = False,
    retry_failed: bool = False,
    engine: str | Engine = "local",
    workers: int | None = None,
    timeout: float | None = None,
    retries: int = 1,
    shard: tuple[int, int] | None = None,
    slurm: Mapping[str, str] | None = None,
    wait: bool | None = None,
    ray_address: str = "auto",
    progress: Progress = silent,
    say: Say = lambda why: None,
) -> SweepResult:
    """Measure many checkpoints: one report each below `out`, and one over those of each architecture.

    models:     shipped names, files, directories, hub ids in the local cache
    probe:      one or several, as for `analyses.run`
    revisions:  such as "step{0,512,1000..9000..1000}"; none: all of a family, and all of a hub id that are cached
    seeds:      of families; none: all
    figures:    as for `Report.save`; beside a report over several checkpoints, one of them gets the main figure
    threads:    of each worker
    engine:     "local": processes of this machine; "slurm": jobs; "ray": a cluster that you have; a name that a package
                registers; or a function, see `Engine`
    workers:    None: one for each visible GPU, or as many as the cores have room for; one job
    timeout:    seconds after which a checkpoint, with all its probes, is given up
    retries:    of a checkpoint whose worker died or ran out of time
    shard:      (i, n): measure share i of n, in this process; the last share to finish makes the reports over several
    slurm:      what Slurm is asked for, such as {"partition": "gpu", "time": "120"}
    wait:       for jobs of Slurm, else they go on without this process; interrupted while it waits, it ends them
    say:        is told in a sentence what fails, and what is measured again though it is there

    A checkpoint that fails is a row, and the others go on; it is measured again with `retry_failed`. Raises UsageError
    for what cannot be planned, and OutputError where `out` cannot be written.
    """
    how = {"seed": seed, "batch_size": batch_size, "device": device, "dtype": dtype, "layout": layout}
    how |= {"model_config": model_config, "model_args": model_args, "threads": threads, "force": force}
    plan = planned(models, probe, out, revisions, seeds, figures, **how)
    chosen = inline if shard else engine_named(engine) if isinstance(engine, str) else engine
    again, jobs = retry_failed or force, list[str]()
    share = partial(measure_share, plan, figures, again, EngineSettings(1, timeout, retries))
    settings = EngineSettings(workers, timeout, retries, share, slurm or {}, wait, ray_address, say, jobs.extend)
    result = _Sweep(plan, figures, progress, say).carried_out(chosen, settings, shard, again)
    return replace(result, jobs=tuple(jobs))


def measure_share(plan: Plan, figures: str, again: bool, settings: EngineSettings, share: tuple[int, int]) -> None:
    """In a job of a cluster: a share of a sweep, by one worker. What fails is said where the job prints."""
    say = partial(print, file=sys.stderr, flush=True)
    _Sweep(plan, figures, silent, say).carried_out(local, settings, share, again)


def planned(
    models: str | Sequence[str],
    probe: Asked | Sequence[Asked],
    out: str | Path,
    revisions: str | Sequence[str],
    seeds: Sequence[int],
    figures: str,
    **how: Any,
) -> Plan:
    """What a sweep would do. Writes nothing. Arguments as for `sweep`; `how` as the fields of an `ItemTask`."""
    asked = [probe] if isinstance(probe, str) or not isinstance(probe, Sequence) else probe
    probes = tuple((one.name, one.settings()) for one in map(probe_of, asked))
    named = [models] if isinstance(models, str) else models
    patterns = revisions if isinstance(revisions, str) else ",".join(revisions)
    items = items_of(named, expanded(patterns) if patterns else (), seeds)
    if not items:
        raise UsageError("no checkpoints given, expected at least 1")
    of_one = "main" if figures == "paper" and len(items) > 1 else figures
    return plan_of(items, ItemTask(items[0], probes, str(out), asked="", figures=of_one, **how))


class _Sweep:
    """One sweep as it goes on."""

    def __init__(self, plan: Plan, figures: str, progress: Progress, say: Say) -> None:
        self.plan = plan
        self.figures = figures
        self.progress = progress
        self.say = say
        self.not_applicable: dict[str, dict[str, str]] = {}
        self.done = self.failed = self.left = 0

    def carried_out(
        self, engine: Engine, settings: EngineSettings, shard: tuple[int, int] | None, again: bool
    ) -> SweepResult:
        """Measure what is not finished; then, where nothing is left to other shares, report over several."""
        waiting = self._not_finished(self.plan.measured(shard), again)
        outcomes = engine(work, waiting, settings) if waiting else iter(())
        self.plan.note()  # only now: an engine that cannot work has said so
        with closing(_each(outcomes)) as each:
            for task, result in each:
                self._take(task.item, result)
        self.plan.note_same_weights()
        rows = self.plan.rows()
        result = SweepResult(rows, not_applicable=self.not_applicable)
        if result.pending:
            return result
        self.progress("over steps and seeds", 1.0)
        threads = self.plan.template.threads
        with threads_set(threads, threads):
            over = tuple(reports_over(self.plan, rows, self.figures, self.say))
            timelines = tuple(timelines_of(Path(self.plan.template.out), self.say))
        return replace(result, reports=over, timelines=timelines)

    def _not_finished(self, items: Sequence[Item], again: bool) -> list[ItemTask]:
        """What is to be measured. Nothing is opened."""
        self.left = len(items)
        waiting, clean = [], clean_sources()
        for task in map(self.plan.task, items):
            if (there := finished_item(task, self.say, clean=clean)) is not None:
                self._take(task.item, there)
            elif not again and (failure := self.plan.failure_of(task.item)) is not None:
                self._count(task.item, failure)
            else:
                waiting.append(task)
        return waiting

    def _take(self, item: Item, result: ItemResult) -> None:
        """Note what came of an item. Where the output folder cannot be written, every further one would fail."""
        if result.error is not None:
            if result.error.kind == "output":
                raise OutputError(result.error.sentence)
            self.plan.folder.fail(item, self.plan.asked, result.error, self._beside(item, result))
        for name, reason in result.not_applicable.items():
            self.not_applicable.setdefault(name, {})[item.label] = reason
        self._count(item, result.error)

    def _beside(self, item: Item, result: ItemResult) -> Mapping[str, str | None]:
        """Reports of a failed item: what its probes gave back, or had saved before its process died."""
        died = result.error is not None and result.error.kind not in ("refused", "usage")
        return {**(answered(self.plan.task(item)).reports if died else {}), **result.reports}

    def _count(self, item: Item, failure: Failure | None) -> None:
        self.left -= 1
        if failure is None:
            self.done += 1
        else:
            self.failed += 1
            self.say(f"{item.label}: {failure.sentence}")
        finished = self.done + self.failed
        self.progress(f"{self.done} done, {self.failed} failed, {self.left} left", finished / (finished + self.left))


def _each(outcomes: Iterator[Outcome]) -> Generator[Outcome]:
    """The outcomes as a generator, which can be closed: an engine then ends its workers."""
    yield from outcomes
