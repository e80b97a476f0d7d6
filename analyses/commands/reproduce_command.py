"""`mesascope reproduce`: the figures of a paper from our own trainings. The estimate needs no torch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from annotated_types import Ge

from ...data.settings import read_settings
from ..reproduction.finding import Planned, plans_of
from ..reproduction.papers import paper_named
from ..runs.estimating import in_words
from .progress import progress_bar
from .terminal import print_json, print_table, printable, warn

if TYPE_CHECKING:
    from ..reproduction.results import FigureResult


@dataclass(frozen=True)
class ReproduceOptions:
    """Options of `mesascope reproduce`."""

    paper: str
    figure: tuple[Annotated[int, Ge(0)], ...] = ()
    quick: bool = False
    output_dir: str | None = None
    checkpoints: str | None = None
    workers: Annotated[int, Ge(1)] | None = None
    dry_run: bool = False
    json: bool = False
    quiet: bool = False


def reproduce_command(values: Mapping[str, Any]) -> int:
    """Estimate, then reproduce; 1 where a figure could not be measured."""
    options = read_settings(ReproduceOptions, values, "reproduce: ", text=True)
    paper = paper_named(options.paper)
    figures = paper.chosen(options.figure)
    out = Path(options.output_dir or options.paper)
    checkpoints = None if options.checkpoints is None else Path(options.checkpoints)
    plans = plans_of(paper, figures, options.quick, out, checkpoints)
    if options.dry_run or not (options.quiet or options.json):
        _print_estimate(list(plans.values()), options)
    if options.dry_run:
        return 0
    from ..reproduction.reproducing import carried_out

    with progress_bar(options.quiet) as progress:
        results = carried_out(paper, figures, plans, out, options.workers, progress, warn)
    _print_results(results, out, options)
    return 1 if any(result.verdict.outcome == "not measured" for result in results) else 0


def _print_estimate(plans: Sequence[Planned], options: ReproduceOptions) -> None:
    if options.json:
        print_json([_prospect(plan) for plan in plans])
        return
    print_table("Needs", [_prospect(plan) for plan in plans])
    training, measuring = sum(plan.training_seconds for plan in plans), sum(plan.measuring_seconds for plan in plans)
    trained = in_words(training) if training else "nothing"
    print(
        printable(
            f"In all {in_words(training + measuring)} of one core where nothing is measured yet: training {trained},"
            f" measuring {in_words(measuring)}. Interrupted, the same command goes on.\n"
        )
    )


def _prospect(plan: Planned) -> dict[str, Any]:
    return {
        "need": plan.need.key,
        "probe": plan.need.probe or "–",
        "checkpoints": plan.model if plan.found else "to be trained",
        "training": "–" if plan.found else in_words(plan.training_seconds),
        "measuring": in_words(plan.measuring_seconds) if plan.need.probe else "–",
        "size": f"reduced: {plan.reduced}" if plan.reduced else "full",
    }


def _print_results(results: Sequence[FigureResult], out: Path, options: ReproduceOptions) -> None:
    from ..reproduction.saving import PAGE

    if options.json:
        print_json([result.as_dict() for result in results])
        return
    if not options.quiet:
        rows = [
            {
                "figure": result.claim.number,
                "title": result.claim.title,
                "verdict": str(result.verdict),
                "size": "reduced" if result.reduced else "full",
            }
            for result in results
        ]
        print_table("Verdicts", rows)
    print(printable(str(out / PAGE)))
