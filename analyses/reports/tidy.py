"""A report as one tidy table: a row a number and null, the same columns for every probe."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import pandas as pd
from scipy.stats import false_discovery_control

from ...probes.measure import Measure, null_mean
from ...probes.statistics.null_p import two_sided_p
from .escaping import csv_cell
from .record import Record

COLUMNS = (
    "model", "revision", "step", "weights_sha256", "probe", "probe_version", "metric", "candidate", "layer", "head",
    "position", "data", "seed", "estimate", "ci_low", "ci_high", "replicate", "n", "null", "null_mean", "null_sd",
    "effect", "p", "p_adjusted", "higher_is_better", "status", "message",
)  # fmt: skip
OWN_COLUMN = ("candidate", "step", "layer", "head", "position")
NUMBERS = ("estimate", "ci_low", "ci_high", "null_mean", "null_sd", "effect", "p", "p_adjusted")
Row = dict[str, Any]


def frame(report: Record) -> pd.DataFrame:
    """Every number of a report with its interval and nulls.

    A measure with several nulls has a row for each, and one without nulls has one row; the estimate repeats. Axes
    without a column of their own stand in `data` as `name=value;…`. `effect` is the estimate's distance from the
    null's mean in the null's standard deviations; `p` counts null samples at least as extreme, on the better side where
    the measure has one and on both sides otherwise (`two_sided_p`); `p_adjusted` controls the false discovery rate over
    the cells of one measure.
    """
    common = _common(report)
    rows = [{**common, **row} for name, measure in report.measures.items() for row in _rows(name, measure)]
    table = pd.DataFrame(rows, columns=list(COLUMNS), dtype=object)
    return table.astype({column: kind for column in COLUMNS if (kind := _kind(column, table[column].tolist()))})


def _kind(column: str, cells: list[Any]) -> str | None:
    if column in NUMBERS:
        return "float64"
    if column not in {*OWN_COLUMN[1:], "seed", "n"}:
        return None
    return "Int64" if all(isinstance(cell, int) or pd.isna(cell) for cell in cells if type(cell) is not int) else None


def _common(report: Record) -> Row:
    first = report.sources[0]
    one = len(report.sources) == 1
    steps = {source["step"] for source in report.sources}
    return {
        "model": first["name"] if one else report.label,
        "revision": first["revision"] if one else None,
        "step": steps.pop() if len(steps) == 1 else None,
        "weights_sha256": first["weights_sha256"] if one else None,
        "probe": report.probe,
        "probe_version": report.probe_version,
        "seed": report.seed,
    }


def _rows(name: str, measure: Measure, beside: Row | None = None) -> Iterator[Row]:
    """The rows of a measure; of one with candidates, say, those of each under its own name.

    beside:  labels along the axes that the measure was part of
    """
    beside = beside or {}
    if parts := measure.apart():
        for label, part in parts.items():
            yield from _rows(f"{name}_{label}", part, {**beside, str(measure.stacked): label})
        return
    places = [place(measure, cell, beside) for cell in np.ndindex(measure.values.shape)]
    low, high = measure.interval
    numbers = {"estimate": measure.values, "ci_low": low, "ci_high": high}
    last = {"higher_is_better": measure.higher_is_better, "status": measure.status, "message": measure.message}
    for null in measure.nulls or (None,):
        compared = compared_with_null(measure, measure.nulls[null]) if null is not None else {}
        columns = {name: array.ravel().tolist() for name, array in {**numbers, **compared}.items()}
        same = {"metric": name, "replicate": measure.replicate, "n": measure.n, "null": null, **last}
        for where, values in zip(places, zip(*columns.values(), strict=True), strict=True):
            yield {**same, **where, **dict(zip(columns, values, strict=True))}


def place(measure: Measure, cell: tuple[int, ...], beside: Mapping[str, Any] | None = None) -> Row:
    """Where a cell stands: its own columns, and the rest of its axes in `data`."""
    labels = {axis: measure.labels(axis)[index] for axis, index in zip(measure.axes, cell, strict=True)}
    labels = {**(beside or {}), **labels}
    own = {axis: label for axis, label in labels.items() if axis in OWN_COLUMN}
    return {**own, "data": ";".join(f"{axis}={label}" for axis, label in labels.items() if axis not in OWN_COLUMN)}


def compared_with_null(measure: Measure, samples: np.ndarray) -> dict[str, np.ndarray]:
    """Each cell of a measure against one null. Null samples without a number are left out."""
    n = np.asarray(np.isfinite(samples).sum(axis=0))
    mean = null_mean(samples)
    with np.errstate(over="ignore"):  # of null models that explode the spread is infinite, and the effect 0
        squares = (np.where(np.isfinite(samples), samples - mean, 0.0) ** 2).sum(axis=0)
    sd = np.sqrt(np.divide(squares, n - 1, out=np.full(measure.values.shape, np.nan), where=n > 1))
    distance = measure.values - mean
    effect = np.divide(distance, sd, out=np.full(measure.values.shape, np.nan), where=sd > 0)
    p = _p_value(measure, samples)
    return {"null_mean": mean, "null_sd": sd, "effect": effect, "p": p, "p_adjusted": _adjusted(p)}


def _p_value(measure: Measure, samples: np.ndarray) -> np.ndarray:
    if measure.higher_is_better is None:
        return two_sided_p(measure.values, samples)
    extreme = samples >= measure.values if measure.higher_is_better else samples <= measure.values
    n = np.asarray(np.isfinite(samples).sum(axis=0))
    count = (extreme & np.isfinite(samples)).sum(axis=0)
    return np.where(np.isfinite(measure.values) & (n > 0), (1 + count) / (n + 1), np.nan)


def _adjusted(p: np.ndarray) -> np.ndarray:
    defined = np.isfinite(p)
    adjusted = np.full(p.shape, np.nan)
    if defined.any():
        adjusted[defined] = false_discovery_control(p[defined])
    return adjusted


def csv_text(table: pd.DataFrame) -> str:
    """A table as CSV: floats in full, empty where there is no number, text that no spreadsheet takes for a formula."""
    columns = [_cells(cells) for _, cells in table.items()]
    lines = [map(_text, table.columns), *zip(*columns, strict=True)]
    return "".join(f"{','.join(line)}\n" for line in lines)


def _cells(column: pd.Series) -> list[str]:
    """A column's cells as text. Numbers need no look; the few texts of a column are each looked at once."""
    cells = column.tolist()
    if column.dtype == np.float64:
        return ["" if cell != cell else repr(cell) for cell in cells]
    written = {cell: _text(cell) for cell in set(cells) if isinstance(cell, str) or pd.isna(cell)}
    return [written[cell] if cell in written else str(cell) for cell in cells]


def _text(cell: Any) -> str:
    """A text as a cell, quoted where CSV needs it; nothing where there is none."""
    line = io.StringIO()
    csv.writer(line, lineterminator="\n").writerow(["" if pd.isna(cell) else csv_cell(cell), ""])
    return line.getvalue().removesuffix(",\n")


def short(value: float | None) -> str:
    """A number for people: four significant digits, a dash where there is none."""
    if value is None or np.isnan(value):
        return "–"
    return f"{value:.4g}"
