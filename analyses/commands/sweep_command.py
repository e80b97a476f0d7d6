"""`mesascope sweep`: many checkpoints, several at a time. Its state, its plan and the audit of weights are shown here,
too. `--status` and `--audit` do not load torch.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..sweeps.audit import audit
from ..sweeps.identity import opened_files
from ..sweeps.items import Item, items_of
from ..sweeps.revisions import expanded, seed_range
from ..sweeps.state import Row, status
from .progress import progress_bar
from .sweep_options import SweepOptions
from .terminal import print_json, print_table, printable, sentence, warn

if TYPE_CHECKING:
    from ..sweeps.plans import Plan
    from ..sweeps.sweeping import SweepResult

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

    checked_device(options.device)
    names = ("models", "revisions", "figures", *HOW)
    asked = {name: getattr(options, name) for name in names}
    return {**asked, "probe": chosen_probes(options), "out": options.output_dir, "seeds": _seeds(options)}


# -- measuring --------------------------------------------------------------------------------------------------------


def _sweep(options: SweepOptions) -> int:
    from ..sweeps.sweeping import sweep
    from .run_command import kept_index

    with progress_bar(options.quiet) as progress:
        result = sweep(
            **_asked(options),
            retry_failed=options.retry_failed,
            engine=options.engine,
            workers=options.workers,
            timeout=options.seconds,
            retries=options.retries,
            shard=options.share,
            progress=progress,
            say=warn,
        )
    index = kept_index(Path(options.output_dir)) if any(any(row.reports.values()) for row in result.rows) else None
    _print_sweep(result, index, options)
    return 1 if result.failed else 0


def _print_sweep(result: SweepResult, index: Path | None, options: SweepOptions) -> None:
    from ..reports.report import Report
    from .showing import print_card, print_report, report_summary, title

    over = [(Report.load(folder), folder) for folder in result.reports]
    if options.json:
        print_json({
            "rows": [row.as_dict() for row in result.rows],
            "reports": [report_summary(report, folder) for report, folder in over],
            "not_applicable": result.not_applicable,
            "index": None if index is None else str(index),
        })  # fmt: skip
        return
    for report, folder in over:
        if options.verbose:
            print_report(report, folder)
        elif not options.quiet:
            print_card(report)
        where = str(folder) if options.quiet else f"{title(report)}: {folder / 'report.html'}"
        print(printable(where))
    if options.quiet:
        return
    for line in _remarks(result, options):
        print(printable(line))
    if index is not None:
        print(printable(f"All reports in {options.output_dir}: {index}"))


def _remarks(result: SweepResult, options: SweepOptions) -> Iterable[str]:
    for probe, reasons in result.not_applicable.items():
        for reason, n in Counter(reasons.values()).items():
            yield f"{probe} does not apply to {_number(n)}: {sentence(reason)}"
    yield sentence(_counted(result.rows))
    if result.failed:
        yield "`--retry-failed` measures again what failed."
    if result.pending:
        yield "The reports over several checkpoints are made by the share that finishes last."


# -- before and after -------------------------------------------------------------------------------------------------


def _status(options: SweepOptions) -> int:
    rows = status(options.models[0])
    if options.json:
        print_json([row.as_dict() for row in rows])
    else:
        print(printable(sentence(_counted(rows))))
        if failed := [row for row in rows if row.state == "failed"]:
            print_table("Failed", [{"checkpoint": row.item.label, **_why(row)} for row in failed])
        if left := [row.item.label for row in rows if row.state == "pending"]:
            print(printable(f"Left: {_some(left)}"))
    return 1 if any(row.state == "failed" for row in rows) else 0


def _why(row: Row) -> dict[str, Any]:
    failure = row.failure
    return {} if failure is None else {"why": failure.sentence, "tried": failure.attempts, "log": failure.log}


def _audit(options: SweepOptions) -> int:
    patterns = ",".join(options.revisions)
    found = audit(items_of(options.models, expanded(patterns) if patterns else (), _seeds(options)))
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
    from ..sweeps.sweeping import planned
    from ..sweeps.work import finished_item

    plan = planned(**_asked(options))
    mine = plan.measured(options.share)
    finished = [item for item in mine if finished_item(plan.task(item), warn) is not None]
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
