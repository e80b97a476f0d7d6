"""Trains what a need lacks and measures it. Both go on where an earlier call was interrupted."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

from ...data.errors import MesascopeError, OutputError
from ...probes.probe import Progress
from ..reports.report import Report
from ..runs.running import probe_named
from ..sweeps.engines import Engine, inline, local
from ..sweeps.sweeping import sweep
from ..training.training import train
from .finding import Planned

REPORTS = "reports"
Say = Callable[[str], None]


def trained(plan: Planned, progress: Progress) -> Planned:
    """The checkpoints of a need, trained where they were not there."""
    if plan.found:
        return plan
    try:
        plan.file.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise OutputError(
            f"{plan.file.parent}: cannot be made ({error.strerror}); choose another folder with -o"
        ) from error
    train(plan.recipe, plan.file, progress=progress)
    return replace(plan, found=True)


def measured(
    plan: Planned, out: Path, twin: Planned | None, workers: int | None, progress: Progress, say: Say
) -> Report:
    """The report of a need: over all of its checkpoints, or of the only one.

    Raises MesascopeError with the first reason where one of them could not be measured.
    """
    need = plan.need
    assert need.probe is not None, "a twin is not measured"
    given = {} if twin is None else {"twin": twin.model}
    folder = out / REPORTS / need.folder
    result = sweep(
        plan.model,
        probe_named(need.probe, {**plan.settings, **given}),
        folder,
        [f"step{step}" for step in plan.steps],
        plan.seeds,
        figures="none",
        engine=_engine(workers),
        workers=workers,
        progress=progress,
        say=say,
    )
    for row in result.failed:
        raise MesascopeError("a measurement failed" if row.failure is None else row.failure.sentence)
    for reasons in result.not_applicable.values():
        raise MesascopeError(f"{need.probe} does not apply: {next(iter(reasons.values()))}")
    if result.reports:
        return Report.load(result.reports[0])
    if len(result.rows) != 1:
        raise MesascopeError(
            f"{need.key}: no report over {len(result.rows)} checkpoints, since code or settings changed while they were"
            " measured; the same command measures them again"
        )
    (place,) = result.rows[0].reports.values()
    assert place is not None, "a probe that applies leaves a report"
    return Report.load(folder / place)


def _engine(workers: int | None) -> Engine:
    """This process, where one is asked for, or where what starts others is not installed."""
    return inline if workers == 1 or (workers is None and find_spec("pebble") is None) else local
