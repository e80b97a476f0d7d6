"""`export`: reports as a table of several models, in Markdown or LaTeX, or as runs at Weights & Biases."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

from ...data.errors import UsageError
from ..reports.record import Record
from ..reports.report import Report
from .choosing import rows, unknown
from .latex_table import latex
from .markdown import markdown
from .places import check
from .saved import Saved, distinct, saved
from .tables import Table, table

Given = Report | str | Path


def export(
    reports: Given | Iterable[Given],
    to: str,
    *,
    measures: Sequence[str] = (),
    project: str | None = None,
    offline: bool = False,
) -> str:
    """Reports, or folders of saved ones, as text of a page or a paper; at Weights & Biases, where each run is.

    to:        "markdown" or "latex": a table for each probe, a column a model. "wandb": a run for each report
    measures:  what stands in the tables, such as "loss_model" or "excess[layer=1,head=0]"; by default what the probe
               names for a paper
    project:   at Weights & Biases; by default as its own settings say
    offline:   write the runs to ./wandb and send nothing. `wandb sync` sends them later
    """
    several = [reports] if isinstance(reports, Report | str | Path) else reports
    names = [measures] if isinstance(measures, str) else measures
    check(to, {"measures": names, "project": project, "offline": offline})
    return exported([saved(given) for given in several], to, names, project, offline)


def exported(found: Sequence[Saved], to: str, measures: Sequence[str], project: str | None, offline: bool) -> str:
    """See `export`; its options have been checked."""
    if not found:
        raise UsageError("export: no report; expected the folder of at least one")
    found = distinct(found)
    if to == "wandb":
        from .wandb_runs import send

        return "".join(f"{place}\n" for place in send(found, project, offline))
    write = latex if to == "latex" else markdown
    return "\n".join(write(made) for made in tables([one.report for one in found], measures))


def tables(reports: Sequence[Record], measures: Sequence[str]) -> list[Table]:
    """A table for each probe that has something of what is asked for. UsageError for a measure that no report has."""
    by_probe = {probe: [r for r in reports if r.probe == probe] for probe in dict.fromkeys(r.probe for r in reports)}
    for name in measures:
        if not any(rows(of_probe, [name]) for of_probe in by_probe.values()):
            raise UsageError(unknown(reports, name))
    return [made for of_probe in by_probe.values() if (made := table(of_probe, measures)) is not None]
