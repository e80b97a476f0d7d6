"""A report for the terminal, and for `--json`: its claim, its numbers and where they come from. Needs no torch."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from textwrap import shorten
from typing import Any

import numpy as np

from ...data.errors import UsageError
from ...probes.findings import Examples
from ...probes.measure import Measure, flat
from ...probes.statistics.ranges import ENOUGH, range_of, words_for
from ..reports.digests import REPORT, edit_notice
from ..reports.escaping import visible
from ..reports.overview import Row, report_folders
from ..reports.record import Record, code_digests
from ..reports.records import json_value
from ..reports.report import Report
from .showing_heads import head_records, print_heads
from .terminal import interval, number, print_claim, print_rich, print_table, printable, warn, width

ROOMY = 130
"""Columns of a terminal from which on units and numbers of replicates fit beside the numbers."""
FEW_VALUES = 12
"""Values along one axis that still fit into a line of a table."""
MANY_SAMPLES = words_for(ENOUGH)
EDITED = "changed after mesascope wrote it"
MOST_EXAMPLES = 8
"""Rows of examples that are printed under a name."""
LEAST_ROOM, BETWEEN = 30, 3
"""Columns of a terminal that a verdict gets in any case, and those between two columns of a table."""


def find_reports(given: str) -> list[Path]:
    """The folders of the reports that are meant: that of the report itself, or of every one somewhere below it.

    UsageError where there is none.
    """
    path = Path(given)
    if path.name == REPORT and path.is_file():
        return [path.parent]
    if (path / REPORT).is_file():
        return [path]
    if not path.is_dir():
        raise UsageError(f"{given}: no such report; expected a folder with a {REPORT}, or one above it")
    found = report_folders(path)
    if not found:
        raise UsageError(f"{given}: holds no report; expected a {REPORT} in it or below it")
    return found


def find_report(given: str) -> Path:
    """The folder of the report that is meant: itself, its report.json, or the one report somewhere below it.

    UsageError where there is no report, and where there are several: a family's lies beside those of its members.
    """
    found = find_reports(given)
    if len(found) > 1:
        some = ", ".join(map(str, found[:4])) + (", …" if len(found) > 4 else "")
        raise UsageError(f"{given}: holds {len(found)} reports; name one: {some}")
    return found[0]


def load(given: str) -> tuple[Report, Path]:
    """The report that is meant, and its folder. One that was edited is read, with a warning."""
    folder = find_report(given)
    report = Report.load(folder)
    if report.edited:
        notice = edit_notice(folder, report.edited)
        warn(f"{notice}; `mesascope verify` measures again and names every number that differs")
    return report, folder


def title(report: Record) -> str:
    return f"{report.probe} on {report.label}"


def print_card(report: Record) -> None:
    """The claim card under the report's title, which says whether the report was edited."""
    edited = f" ({EDITED})" if report.edited else ""
    print_claim(title(report) + edited, json_value(report.claim))


def print_report(report: Record, folder: Path) -> None:
    """The claim card, every measure, and where it all came from."""
    print_card(report)
    print_heads(report)
    measures = flat(report.measures)
    _print_scalars({name: m for name, m in measures.items() if m.status == "ok" and not m.axes})
    if curves := [_curve_row(name, m) for name, m in measures.items() if m.status == "ok" and m.axes]:
        print_table("Measures along axes", curves)
    if absent := {name: m for name, m in measures.items() if m.status != "ok"}:
        rows = [{"measure": name, "status": m.status, "why": m.message} for name, m in absent.items()]
        print_table("Measures without a value", rows)
    for name, examples in report.examples.items():
        _print_examples(name, examples)
    print_rich(_origin(report, folder))


def _print_examples(name: str, examples: Examples) -> None:
    """The first rows, and how many more there are."""
    rows = examples.rows[:MOST_EXAMPLES]
    cells = [[visible(cell) if isinstance(cell, str) else cell for cell in row] for row in rows]
    print_table(name.replace("_", " ").capitalize(), [dict(zip(examples.columns, row, strict=True)) for row in cells])
    if left := len(examples.rows) - len(rows):
        print(f"{left:,} more rows: --json\n")


def _print_scalars(measures: Mapping[str, Measure]) -> None:
    """Measures without axes. Title or columns say which range stands beside the mean of each null model."""
    ranges = _null_ranges(measures.values())
    uniform = set(ranges.values()) <= {MANY_SAMPLES}
    headings = {null: f"null: {null}" if uniform else f"null: {null} ({words})" for null, words in ranges.items()}
    rows = [_scalar_row(name, measure, headings) for name, measure in measures.items()]
    if width() < ROOMY:
        rows = [{name: cell for name, cell in row.items() if name not in {"unit", "n"}} for row in rows]
    nulls = f", with the mean and {MANY_SAMPLES if uniform else 'range'} of each null model" if ranges else ""
    print_table(f"Measures{nulls}", rows)


def _null_ranges(measures: Iterable[Measure]) -> dict[str, str]:
    """What the range of each null model's samples is called: "95 % range", or "minimum to maximum of 3"."""
    words: dict[str, dict[str, None]] = {}
    for measure in measures:
        for null, samples in measure.nulls.items():
            words.setdefault(null, {})[words_for(len(samples))] = None
    return {null: " or ".join(found) for null, found in words.items()}


def print_overview(rows: Sequence[Row], folder: Path) -> None:
    """A line a report, members of a family below it and indented; then the reports that cannot be read."""
    readable = [row for row in rows if row.problem is None]
    named = [(row.checkpoint, row.probe) for row in readable]
    lines = [_overview_line(row, keyed=len(set(named)) < len(named)) for row in readable]
    taken = [max(len(str(cell)) for cell in (name, *(line[name] for line in lines))) for name in (lines or [{}])[0]]
    room = max(width() - sum(taken) - BETWEEN * len(taken) - 2, LEAST_ROOM)
    for line, row in zip(lines, readable, strict=True):
        line["verdict"] = shorten(f"{EDITED}. {row.verdict}" if row.edited else row.verdict, room, placeholder=" …")
    print_table(f"{len(readable)} reports in {folder}", lines)
    if unreadable := [row for row in rows if row.problem is not None]:
        print_table("Not readable", [{"report": row.folder, "why": row.problem} for row in unreadable])
    print(printable(f"`mesascope show {folder / 'CHECKPOINT' / 'PROBE'}` shows one of them."))


def _overview_line(row: Row, keyed: bool) -> dict[str, Any]:
    """keyed: several reports have the same name"""
    line = {"checkpoint": ("  " if row.member_of else "") + row.checkpoint, "probe": row.probe}
    line |= {"key": row.key} if keyed else {}
    return line if width() < ROOMY else {**line, "step": row.steps_in_words, "checkpoints": row.checkpoints}


def report_summary(report: Record, folder: Path) -> dict[str, Any]:
    """The report for a program: the claim and every number without axes. report.json has the whole."""
    return {
        "label": report.label,
        "probe": report.probe,
        "key": report.key,
        "folder": str(folder),
        "edited": list(report.edited),
        "claim": json_value(report.claim),
        "heads": report.heads,
        "heads_frame": head_records(report),
        "examples": json_value(report.examples),
        "measures": {name: _summary(measure) for name, measure in flat(report.measures).items() if not measure.axes},
    }


def _summary(measure: Measure) -> dict[str, Any]:
    low, high = measure.interval
    return {
        "estimate": json_value(measure.values),
        "ci_low": json_value(low),
        "ci_high": json_value(high),
        "unit": measure.unit,
        "replicate": measure.replicate,
        "n": measure.n,
        "status": measure.status,
        "message": measure.message,
    }


def _scalar_row(name: str, measure: Measure, null_headings: Mapping[str, str]) -> dict[str, Any]:
    low, high = measure.interval
    return {
        "measure": name,
        "estimate [95 % CI]": f"{number(measure.estimate)} {interval(float(low), float(high))}".strip(),
        "unit": measure.unit,
        "n": "" if measure.replicate == "none" else f"{measure.n} × {measure.replicate}",
        **{heading: _null_cell(measure.nulls.get(null)) for null, heading in null_headings.items()},
    }


def _null_cell(samples: np.ndarray | None) -> str:
    """Mean [low, high] of a null model's samples."""
    if samples is None:
        return ""
    known = samples[np.isfinite(samples)]
    if not known.size:
        return "undefined"
    low, high, _ = range_of(known)
    return f"{number(float(known.mean()), 2)} {interval(float(low), float(high), 2) if known.size > 1 else ''}".strip()


def _curve_row(name: str, measure: Measure) -> dict[str, Any]:
    along = ", ".join(f"{axis} ({size})" for axis, size in zip(measure.axes, measure.values.shape, strict=True))
    known = measure.values[np.isfinite(measure.values)]
    if len(measure.axes) == 1 and measure.values.size <= FEW_VALUES:
        shown = ", ".join(map(number, measure.values))
    else:
        shown = f"{number(known.min())} to {number(known.max())}" if known.size else "undefined"
    return {"measure": name, "values": shown, "unit": measure.unit, "along": along}


def _origin(report: Record, folder: Path) -> str:
    code = [f"{file}: {digest}" for source in report.sources for file, digest in code_digests(source).items()]
    shown = [source for source in report.sources if source["weights_sha256"] or not code]
    lines = [f"{source['name']} {source['revision'] or ''}: {source['weights_sha256']}" for source in shown]
    notes = dict.fromkeys(note for source in report.sources for note in source["notes"])
    made = report.provenance
    command = [f"command  {made['command']}"] if made["command"] else []
    page = folder / "report.html"
    text = ["weights (SHA-256)", *(f"  {line}" for line in lines)] if lines else []
    text += ["code (SHA-256)", *(f"  {line}" for line in code)] if code else []
    text += [*(f"note     {note}" for note in notes), *command]
    text += [f"seed     {report.seed}", f"report   {page if page.exists() else folder}"]
    return printable("\n".join(text))
