"""A report for the terminal, and for `--json`: its claim, its numbers and where they come from. Needs no torch."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...data.errors import UsageError
from ...probes.measure import Measure, flat
from ...probes.statistics.ranges import ENOUGH, range_of, words_for
from ..reports.record import Record, by_verdict
from ..reports.records import json_value
from .terminal import number, print_claim, print_rich, print_table, printable, width

ROOMY = 130
"""Columns of a terminal from which on units and numbers of replicates fit beside the numbers."""
FEW_VALUES = 12
"""Values along one axis that still fit into a line of a table."""
MANY_SAMPLES = words_for(ENOUGH)


def find_report(given: str) -> Path:
    """The folder of the report that is meant: itself, its report.json, or the one report somewhere below it.

    UsageError where there is no report, and where there are several: a family's lies beside those of its members.
    """
    path = Path(given)
    if path.name == "report.json" and path.is_file():
        return path.parent
    if (path / "report.json").is_file():
        return path
    if not path.is_dir():
        raise UsageError(f"{given}: no such report; expected a folder with a report.json, or one above it")
    found = sorted(file.parent for file in path.rglob("report.json") if not file.parent.name.startswith("."))
    if not found:
        raise UsageError(f"{given}: holds no report; expected a report.json in it or below it")
    if len(found) > 1:
        some = ", ".join(map(str, found[:4])) + (", …" if len(found) > 4 else "")
        raise UsageError(f"{given}: holds {len(found)} reports; name one: {some}")
    return found[0]


def title(report: Record) -> str:
    return f"{report.probe} on {report.label}"


def print_card(report: Record) -> None:
    """The claim card under the report's title."""
    print_claim(title(report), json_value(report.claim))


def print_report(report: Record, folder: Path) -> None:
    """The claim card, every measure, and where it all came from."""
    print_card(report)
    if report.heads:
        rows = [{"verdict": verdict, "heads": ", ".join(heads)} for verdict, heads in by_verdict(report).items()]
        print_table("Heads", rows)
    measures = flat(report.measures)
    _print_scalars({name: m for name, m in measures.items() if m.status == "ok" and not m.axes})
    if curves := [_curve_row(name, m) for name, m in measures.items() if m.status == "ok" and m.axes]:
        print_table("Measures along axes", curves)
    if absent := {name: m for name, m in measures.items() if m.status != "ok"}:
        rows = [{"measure": name, "status": m.status, "why": m.message} for name, m in absent.items()]
        print_table("Measures without a value", rows)
    print_rich(_origin(report, folder))


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


def print_comparison(rows: Sequence[Mapping[str, Any]], axes: Iterable[str]) -> None:
    """Rows of `compare` for each pair of reports: numbers without axes; all of them where every number has some."""
    axes = tuple(axes)
    scalar = [row for row in rows if all(_is_blank(row[axis]) for axis in axes)]
    shown = scalar or rows
    for pair in dict.fromkeys((row["report_a"], row["report_b"]) for row in shown):
        of_pair = [row for row in shown if (row["report_a"], row["report_b"]) == pair]
        print_table(f"a: {pair[0]}\nb: {pair[1]}", [_difference_row(row, axes) for row in of_pair])
    if len(shown) < len(rows):
        print(f"{len(rows) - len(shown)} numbers along axes are not shown; --json prints all")


def _difference_row(row: Mapping[str, Any], axes: Iterable[str]) -> dict[str, Any]:
    where = ", ".join(f"{axis} {row[axis]}" for axis in axes if not _is_blank(row[axis]))
    low, high = row["ci_low"], row["ci_high"]
    return {
        "measure": f"{row['metric']} {where}".strip(),
        "a": number(row["estimate_a"]),
        "b": number(row["estimate_b"]),
        "b - a": number(row["difference"]),
        "95 % CI": _interval(low, high),
        "method": row["method"],
    }


def _interval(low: float, high: float, digits: int = 4) -> str:
    return "" if math.isnan(low) else f"[{number(low, digits)}, {number(high, digits)}]"


def _is_blank(cell: Any) -> bool:
    return cell is None or cell == "" or (isinstance(cell, float) and math.isnan(cell))


def report_summary(report: Record, folder: Path) -> dict[str, Any]:
    """The report for a program: the claim and every number without axes. report.json has the whole."""
    return {
        "label": report.label,
        "probe": report.probe,
        "key": report.key,
        "folder": str(folder),
        "claim": json_value(report.claim),
        "heads": report.heads,
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
        "estimate [95 % CI]": f"{number(measure.estimate)} {_interval(float(low), float(high))}".strip(),
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
    return f"{number(float(known.mean()), 2)} {_interval(float(low), float(high), 2) if known.size > 1 else ''}".strip()


def _curve_row(name: str, measure: Measure) -> dict[str, Any]:
    along = ", ".join(f"{axis} ({size})" for axis, size in zip(measure.axes, measure.values.shape, strict=True))
    known = measure.values[np.isfinite(measure.values)]
    if len(measure.axes) == 1 and measure.values.size <= FEW_VALUES:
        shown = ", ".join(map(number, measure.values))
    else:
        shown = f"{number(known.min())} to {number(known.max())}" if known.size else "undefined"
    return {"measure": name, "values": shown, "unit": measure.unit, "along": along}


def _origin(report: Record, folder: Path) -> str:
    lines = [f"{source['name']} {source['revision'] or ''}: {source['weights_sha256']}" for source in report.sources]
    notes = dict.fromkeys(note for source in report.sources for note in source["notes"])
    made = report.provenance
    command = [f"command  {made['command']}"] if made["command"] else []
    page = folder / "report.html"
    text = ["weights (SHA-256)", *(f"  {line}" for line in lines), *(f"note     {note}" for note in notes), *command]
    text += [f"seed     {report.seed}", f"report   {page if page.exists() else folder}"]
    return printable("\n".join(text))
