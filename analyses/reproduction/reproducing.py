"""`analyses.reproduce`: the figures of a paper from our own trainings, each with a verdict.

The line of a reproduction: `papers` -> `finding` (which checkpoints are there) -> `making` (trains, measures) ->
`numbers` (statistics and what is drawn) -> `judging` -> `saving` (figures, records, and the page over all of them).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ...data.errors import MesascopeError, OutputError
from ...probes.probe import Progress, silent
from .finding import Planned, plans_of
from .judging import FigureVerdict, judge
from .making import measured, trained
from .needs import Need
from .numbers import numbers_of
from .papers import Paper, paper_named
from .results import FigureResult, Made
from .saving import save_figure, save_page

Say = Callable[[str], None]


def reproduce(
    paper: str,
    out: str | Path,
    figures: Sequence[int] = (),
    *,
    quick: bool = False,
    checkpoints: str | Path | None = None,
    workers: int | None = None,
    progress: Progress = silent,
    say: Say = lambda why: None,
) -> tuple[FigureResult, ...]:
    """Train or find what the figures of a paper need, measure it, and write figures, verdicts and a page to `out`.

    paper:        such as "von-oswald-2023"
    figures:      their numbers; none: all
    quick:        the reduced size: minutes in place of hours
    checkpoints:  a folder with files named after recipes, trained elsewhere by `mesascope train`
    workers:      processes that measure; None: as many as the cores have room for
    say:          is told in a sentence what fails

    Interrupted, it goes on where it was when called again. A figure whose needs fail is "not measured", with the
    reason, and the others go on. Raises UsageError for a paper or a figure that does not exist and for files of other
    trainings, and OutputError where `out` cannot be written.
    """
    found = paper_named(paper)
    numbers = found.chosen(figures)
    where = None if checkpoints is None else Path(checkpoints)
    plans = plans_of(found, numbers, quick, Path(out), where)
    return carried_out(found, numbers, plans, Path(out), workers, progress, say)


def carried_out(
    paper: Paper,
    figures: Sequence[int],
    plans: Mapping[str, Planned],
    out: Path,
    workers: int | None = None,
    progress: Progress = silent,
    say: Say = lambda why: None,
) -> tuple[FigureResult, ...]:
    """The same with plans that have been made: see `finding.plans_of`."""
    work = _Work(dict(plans), out, workers, say)
    total = sum(plan.seconds for plan in plans.values())
    results, begun = [], 0.0
    for number in figures:
        for need in paper.needs_of([number]):
            if need.key not in work.made:
                share = sum(plans[one.key].seconds for one in need.with_twin)
                work.make(need, _part(progress, f"figure {number}", begun / total, share / total))
                begun += share
        results.append(_result(paper, number, work.made))
        save_figure(results[-1], paper, out)
    save_page(paper, out)
    progress("done", 1.0)
    return tuple(results)


@dataclass
class _Work:
    """Needs as they are met, one after the other.

    made:  by key
    """

    plans: dict[str, Planned]
    out: Path
    workers: int | None
    say: Say
    made: dict[str, Made] = field(default_factory=dict)

    def make(self, need: Need, progress: Progress) -> None:
        """Note a need's report, or why there is none. What cannot be written ends it all."""
        try:
            for one in need.with_twin:
                self.plans[one.key] = trained(self.plans[one.key], progress)
            twin = None if need.twin is None else self.plans[need.twin.key]
            report = measured(self.plans[need.key], self.out, twin, self.workers, progress, self.say)
            self.made[need.key] = Made(self.plans[need.key], report, twin=twin)
        except OutputError:
            raise
        except MesascopeError as error:
            self.say(f"{need.key}: {error}")
            self.made[need.key] = Made(self.plans[need.key], None, str(error))


def _result(paper: Paper, number: int, made: Mapping[str, Made]) -> FigureResult:
    claim, mine = paper.claims[number], {key: made[key] for key in paper.of_figures[number]}
    if failed := [f"{key}: {one.why}" for key, one in mine.items() if one.report is None]:
        return FigureResult(claim, FigureVerdict("not measured", tuple(failed)), None, mine)
    numbers = numbers_of(number, {key: one.report for key, one in mine.items() if one.report is not None})
    cut_short = {key for key, one in mine.items() if one.cut_short}
    verdict = judge(claim, numbers.statistics, numbers.lacking, cut_short=cut_short)
    return FigureResult(claim, verdict, numbers, mine)


def _part(progress: Progress, of: str, begin: float, share: float) -> Progress:
    return lambda stage, fraction: progress(f"{of}: {stage}", begin + share * fraction)
