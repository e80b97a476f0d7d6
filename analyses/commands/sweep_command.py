"""`mesascope sweep`: many checkpoints, several at a time. Its state, its plan and the audit of weights are shown here,
too. `--status`, `--audit` and a sweep that is finished do not load torch.
"""

from __future__ import annotations

import shlex
from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..reports.overview import head_of
from ..sweeps.audit import audit
from ..sweeps.identity import opened_files
from ..sweeps.items import Item, items_of
from ..sweeps.revisions import expanded, seed_range
from ..sweeps.state import Row, status
from ..sweeps.whole import WholeSweep
from .kept_index import kept_index
from .progress import progress_bar
from .sweep_options import HERE, SweepOptions
from .terminal import print_claim, print_json, print_table, printable, sentence, warn
from .timeline_command import print_timeline

if TYPE_CHECKING:
    from ..sweeps.plans import Plan
    from ..sweeps.results import SweepResult

STATES = {"done": "done", "failed": "failed", "pending": "left", "identical": "the same as another"}
HOW = ("seed", "batch_size", "device", "dtype", "layout", "model_config", "model_args", "threads", "force")
"""Options that say how each checkpoint is opened and measured."""


def sweep_command(options: SweepOptions) -> int:
    """Do what is asked, and return the exit code."""
    if options.status:
        return _status(options)
    if options.audit:
        return _audit(options)
    if options.dry_run:
        return _dry_run(options)
    return _sweep(options)


def _seeds(options: SweepOptions) -> tuple[int, ...]:
    return seed_range(",".join(map(str, options.seeds))) if options.seeds else ()


def _asked(options: SweepOptions) -> dict[str, Any]:
    """The arguments of `planned`."""
    from .planning import checked_device, chosen_probes

    if options.engine in HERE or options.share is not None:
        checked_device(options.device)  # other engines have devices that this machine lacks
    names = ("models", "revisions", "figures", *HOW)
    asked = {name: getattr(options, name) for name in names}
    return {**asked, "probe": chosen_probes(options), "out": options.output_dir, "seeds": _seeds(options)}


# -- measuring --------------------------------------------------------------------------------------------------------


def _sweep(options: SweepOptions) -> int:
    whole = WholeSweep(options.output_dir, *_as_a_whole(options))
    result = None if options.force else whole.found()
    if result is None:
        said: list[str] = []
        result = _measured(options, said)
        if options.share is None and not result.jobs and not said:  # this process has looked at all of it
            whole.keep(result)
    index = kept_index(Path(options.output_dir)) if any(any(row.reports.values()) for row in result.rows) else None
    _print_sweep(result, index, options)
    return 1 if result.failed or (options.wait and result.pending) else 0


def _as_a_whole(options: SweepOptions) -> tuple[dict[str, Any], list[Item], dict[str, Any]]:
    """What is asked for, the checkpoints, and how they are opened. Nothing here needs torch."""
    reading = {name: getattr(options, name) for name in ("layout", "model_config", "model_args", "dtype")}
    names = ("models", "probe", "revisions", "settings", "seed", "batch_size", "device", "figures")
    asked = {name: getattr(options, name) for name in names}
    return {**asked, "seeds": _seeds(options)}, _items(options), reading


def _items(options: SweepOptions) -> list[Item]:
    patterns = ",".join(options.revisions)
    return items_of(options.models, expanded(patterns) if patterns else (), _seeds(options))


def _measured(options: SweepOptions, said: list[str]) -> SweepResult:
    """The long way. What it says is added to `said`."""
    from ..sweeps.sweeping import sweep

    def say(why: str) -> None:
        said.append(why)
        warn(why)

    with progress_bar(options.quiet) as progress:
        return sweep(
            **_asked(options),
            retry_failed=options.retry_failed,
            engine=options.engine,
            workers=options.workers,
            timeout=options.seconds,
            retries=options.retries,
            shard=options.share,
            slurm=options.slurm,
            wait=options.wait,
            ray_address=options.ray_address,
            progress=progress,
            say=say,
        )


def _print_sweep(result: SweepResult, index: Path | None, options: SweepOptions) -> None:
    from ..reports.report import Report
    from .showing import print_report, report_summary

    if options.json:
        print_json({
            "rows": [row.as_dict() for row in result.rows],
            "reports": [report_summary(Report.load(folder), folder) for folder in result.reports],
            "timelines": [str(folder) for folder in result.timelines],
            "not_applicable": result.not_applicable,
            "index": None if index is None else str(index),
            "jobs": list(result.jobs),
        })  # fmt: skip
        return
    for folder in result.reports:
        head, _ = head_of(folder)
        title = f"{head['probe']} on {head['label']}"
        if options.verbose:
            print_report(Report.load(folder), folder)
        elif not options.quiet:
            print_claim(title, head["claim"])
        print(printable(str(folder) if options.quiet else f"{title}: {folder / 'report.html'}"))
    for folder in result.timelines:
        print_timeline(folder, options.quiet)
    if result.jobs and not options.wait:
        _print_jobs(result.jobs, options)
    if options.quiet:
        return
    for line in _remarks(result, options):
        print(printable(line))
    if index is not None:
        print(printable(f"All reports in {options.output_dir}: {index}"))


def _print_jobs(jobs: Sequence[str], options: SweepOptions) -> None:
    if options.quiet:
        print("\n".join(jobs))
        return
    ids = ",".join(dict.fromkeys(job.partition("_")[0] for job in jobs))
    folder = shlex.quote(options.output_dir)
    print(printable(f"Submitted to Slurm: {_some(jobs)}. They go on without this program."))
    print(printable(f"Look with `mesascope sweep {folder} --status` or `squeue -j {ids}`; `scancel {ids}` ends them."))


def _remarks(result: SweepResult, options: SweepOptions) -> Iterable[str]:
    for probe, reasons in result.not_applicable.items():
        for reason, n in Counter(reasons.values()).items():
            yield f"{probe} does not apply to {_number(n)}: {sentence(reason)}"
    yield sentence(_counted(result.rows))
    yield from _twins(result.rows)
    if result.failed:
        yield "`--retry-failed` measures again what failed."
    if result.pending and not options.wait:
        of = "job" if result.jobs else "share"
        yield f"The reports over several checkpoints are made by the {of} that finishes last."


# -- before and after -------------------------------------------------------------------------------------------------


def _status(options: SweepOptions) -> int:
    rows = status(options.models[0])
    if options.json:
        print_json([row.as_dict() for row in rows])
    else:
        print(printable(sentence(_counted(rows))))
        for line in _twins(rows):
            print(printable(line))
        if failed := [row for row in rows if row.state == "failed"]:
            print_table("Failed", [{"checkpoint": row.item.label, **_why(row)} for row in failed])
        if left := [row.item.label for row in rows if row.state == "pending"]:
            print(printable(f"Left: {_some(left)}"))
    return 1 if any(row.state == "failed" for row in rows) else 0


def _twins(rows: Iterable[Row]) -> Iterable[str]:
    """Checkpoints that were measured, and then turned out to hold the weights of another."""
    if twins := [f"{row.item.label} as {row.same_as.label}" for row in rows if row.state == "done" and row.same_as]:
        yield f"The same weights: {_some(twins)}."


def _why(row: Row) -> dict[str, Any]:
    failure = row.failure
    return {} if failure is None else {"why": failure.sentence, "tried": failure.attempts, "log": failure.log}


def _audit(options: SweepOptions) -> int:
    found = audit(_items(options))
    if options.json:
        print_json(found.as_dict())
        return 0
    print(printable(f"{_number(found.checkpoints)}, {found.distinct} of them distinct."))
    for group in found.identical:
        print(printable(f"The same weights: {_some([item.label for item in group])}"))
    for partly in found.partly:
        print(printable(f"{partly.item.label} and {partly.like.label}: {partly.sentence}"))
    for item, why in found.not_compared:
        print(printable(f"{item.label} was not compared: {sentence(why)}"))
    return 0


def _dry_run(options: SweepOptions) -> int:
    """What would be measured. Nothing is opened, so what does not apply shows later."""
    from ..runs.running import clean_sources
    from ..sweeps.finding import finished_item
    from ..sweeps.sweeping import planned

    plan = planned(**_asked(options))
    mine, clean = plan.measured(options.share), clean_sources()
    finished = [item for item in mine if finished_item(plan.task(item), warn, clean=clean) is not None]
    again = options.retry_failed or options.force
    failed = [item for item in mine if item not in finished and not again and plan.failure_of(item)]
    left = [item for item in mine if item not in finished and item not in failed]
    groups = {
        "would_run": [item.label for item in left],
        "finished": [item.label for item in finished],
        "failed_before": [item.label for item in failed],
        "identical": {item.label: same.label for item, same in plan.same_as.items()},
        "bytes_to_read": _bytes_to_read(left),
    }
    if options.json:
        print_json(groups)
    else:
        _print_prospects(plan, groups)
    return 0


def _print_prospects(plan: Plan, groups: dict[str, Any]) -> None:
    print(printable(f"{_number(len(plan.items))}, each with {', '.join(name for name, _ in plan.template.probes)}."))
    read = f"about {groups['bytes_to_read'] / 1e9:.2g} GB to read"
    print(printable(f"Would run ({read}): {_some(groups['would_run'])}"))
    for name in ("finished", "failed_before"):
        if groups[name]:
            print(printable(f"{name.replace('_', ' ').capitalize()}: {_some(groups[name])}"))
    for label, same in groups["identical"].items():
        print(printable(f"{label} has the same weights as {same}: measured once."))


def _bytes_to_read(items: Iterable[Item]) -> int:
    paths = {path for item in items for path in opened_files(item)[0]}
    return sum(path.stat().st_size for path in paths if path.is_file())


def _counted(rows: Sequence[Row]) -> str:
    """`44 checkpoints: 40 done, 1 failed, 3 left`."""
    counts = Counter(row.state for row in rows)
    found = [f"{counts[state]} {words}" for state, words in STATES.items() if counts[state]]
    return f"{_number(len(rows))}: {', '.join(found)}"


def _number(n: int) -> str:
    return f"{n:,} checkpoint{'s' if n != 1 else ''}"


def _some(labels: Sequence[str]) -> str:
    """Labels, of many the first and the last."""
    shown = labels if len(labels) <= 8 else [*labels[:3], "…", f"{labels[-1]} ({len(labels)})"]
    return ", ".join(shown) or "none"
