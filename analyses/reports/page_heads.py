"""What a page shows of heads: a table with one row a head, and the numbers of each head's own part.

A part holds every measure that has axes layer and head, at that head. Its numbers stand in one block of data, measure
by measure, with three digits; a script of the page builds a part when its row is opened. Where heads are many, the
largest numbers of each head are there of a measure with further axes. measures.csv has all of them, in full.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Float, Int

from ...probes.measure import Measure, flat, last_step, null_mean
from .heads import AXES, Column, HeadTable, index_of, per_head
from .record import Record
from .tidy import compared_with_null

MOST_ROWS = 2_000
"""Heads that the table lists; it counts the others."""
SHORT = 30
"""Rows of a table that stands whole on the page; a longer one scrolls in a place of its own."""
MOST_NUMBERS = 250_000
"""In the block of data: about 1.5 MB."""
LISTED = (24, 8, 4, 2, 1)
"""Numbers of a measure that a head's part lists, as many of these as there is room for."""
CURVE = 8
"""Numeric labels along an axis from which on a part draws a curve, too."""
LEVELS = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz-_"
"""Heights of a curve, one character a point; a point is where there is none."""
MOST_POINTS = 400_000
"""Of all curves together; of null models, as many are drawn as there is room for."""
MINUS = "−"


def table_context(table: HeadTable) -> dict[str, Any]:
    """The table: its headings, its rows with the called heads first, and how many heads have which verdict."""
    rows = table.by_rank[:MOST_ROWS]
    return {
        "headings": [heading for column in table.shown for heading in _headings(column)],
        "rows": [
            {
                "name": table.names[row],
                "verdict": table.verdicts[row],
                "cells": [cell for column in table.shown for cell in _cells(column, row)],
            }
            for row in rows
        ],
        "counts": [{"verdict": verdict, "n": n} for verdict, n in table.counts().items()],
        "more": len(table.names) - len(rows),
        "tall": len(rows) > SHORT,
    }


def _headings(column: Column) -> Iterator[dict[str, str]]:
    yield {"words": column.of.heading, "note": "", "measure": column.of.measure}
    if column.has_null:
        yield {"words": "null", "note": column.null_name, "measure": ""}


def _cells(column: Column, row: int) -> Iterator[dict[str, str]]:
    """A number and its interval, and the null model beside it where the probe names one."""
    yield {"estimate": _minus(column.estimate(row)), "interval": _minus(column.interval(row))}
    if column.has_null:
        yield {"estimate": _minus(column.text(float(column.null[row]))), "interval": ""}


def _minus(text: str) -> str:
    return text.replace("-", MINUS)


# -- each head's own part ----------------------------------------------------------------------------------------------


def parts(report: Record, table: HeadTable, links: Mapping[str, str]) -> dict[str, Any]:
    """The numbers of every listed head's part, for the page's script.

    links:  where the definition of a measure stands on the page, by the measure's name
    """
    names = [table.names[row] for row in table.by_rank[:MOST_ROWS]]
    measures = {
        name: measure
        for name, measure in last_step(flat(report.measures)).items()
        if measure.status == "ok" and set(AXES) <= set(measure.axes)
    }
    most = next((n for n in LISTED if _numbers(measures.values(), len(names), n) <= MOST_NUMBERS), LISTED[-1])
    n_nulls = _drawn_nulls(measures.values(), len(names))
    made = []
    for name, measure in measures.items():
        curve = {"curve": _curve(measure, names, n_nulls)} if n_nulls is not None and _has_curve(measure) else {}
        made.append({"name": name, "link": links.get(name, ""), **_block(measure, names, most), **curve})
    return {"heads": names, "measures": made}


def _numbers(measures: Iterable[Measure], n_heads: int, most: int) -> int:
    """About how many numbers the block holds: estimates, intervals, and mean and p for each null."""
    cells = [(min(measure.values.size // _n_heads(measure), most), len(measure.nulls)) for measure in measures]
    return n_heads * sum(n * (3 + 2 * nulls) for n, nulls in cells)


def _n_heads(measure: Measure) -> int:
    return int(np.prod([len(measure.labels(axis)) for axis in AXES]))


def _block(measure: Measure, names: Sequence[str], most: int) -> dict[str, Any]:
    """A measure at every head: `n` numbers a head, one head after the other; nothing where there is none."""
    others = tuple(axis for axis in measure.axes if axis not in AXES)
    index = index_of(measure, names)
    values = _by_head(measure, measure.values, index)
    chosen = _largest(values, most)
    low, high = (_pack(_by_head(measure, bound, index), chosen) for bound in measure.interval)
    block: dict[str, Any] = {
        "unit": measure.unit,
        "message": measure.message,
        "no_nulls": measure.no_nulls if not measure.nulls else "",
        "axes": list(others),
        "labels": [[_label(label) for label in measure.labels(axis)] for axis in others],
        "n": chosen.shape[1],
        "of": values.shape[1],
        "values": _pack(values, chosen),
    }
    if chosen.shape[1] < values.shape[1]:
        block["cells"] = chosen.ravel().tolist()
    if any(bound is not None for bound in low):
        block |= {"low": low, "high": high}
    block["nulls"] = [_null(measure, null, samples, index, chosen) for null, samples in measure.nulls.items()]
    return block


def _null(
    measure: Measure, name: str, samples: np.ndarray, index: Int[np.ndarray, " row"], chosen: Int[np.ndarray, "row n"]
) -> dict[str, Any]:
    """The mean of a null model, and p where it has several samples."""
    made: dict[str, Any] = {"name": name, "draws": len(samples)}
    made["mean"] = _pack(_by_head(measure, null_mean(samples), index), chosen)
    if len(samples) > 1:
        made["p"] = _pack(_by_head(measure, compared_with_null(measure, samples)["p"], index), chosen)
    return made


def _by_head(measure: Measure, array: np.ndarray, index: Int[np.ndarray, " row"]) -> Float[np.ndarray, "row cell"]:
    """An array shaped like the measure's values, as one line of cells for each head."""
    places = [measure.axes.index(axis) for axis in AXES]
    lines = np.moveaxis(array, places, (0, 1)).reshape(_n_heads(measure), -1)
    return np.stack([per_head(cells, index) for cells in lines.T], axis=1)


def _largest(values: Float[np.ndarray, "row cell"], most: int) -> Int[np.ndarray, "row n"]:
    """The cells of each row that are listed, in their own order: all, or those of the largest absolute values."""
    if values.shape[1] <= most:
        return np.tile(np.arange(values.shape[1]), (len(values), 1))
    by_size = np.argsort(-np.abs(np.nan_to_num(values, nan=0.0)), axis=1, kind="stable")
    return np.sort(by_size[:, :most], axis=1)


def _pack(values: Float[np.ndarray, "row cell"], chosen: Int[np.ndarray, "row n"]) -> list[float | None]:
    """The chosen numbers with three digits, None where there is none."""
    taken = np.take_along_axis(values, chosen, axis=1).ravel().tolist()
    return [_three_digits(value) if np.isfinite(value) else None for value in taken]


def _three_digits(value: float) -> float:
    rounded = float(f"{value:.3g}")
    return int(rounded) if rounded.is_integer() and abs(rounded) < 1e6 else rounded


def _has_curve(measure: Measure) -> bool:
    """Whether a head's numbers stand along one axis of many numbers."""
    others = [axis for axis in measure.axes if axis not in AXES]
    labels = measure.labels(others[0]) if len(others) == 1 else ()
    return len(labels) >= CURVE and all(isinstance(label, int | float) for label in labels)


def _drawn_nulls(measures: Iterable[Measure], n_heads: int) -> int | None:
    """Of how many null models all curves have room for the lines; None: there is no room for curves at all."""
    curves = [(n_heads * m.values.size // _n_heads(m), len(m.nulls)) for m in measures if _has_curve(m)]
    fitting = (k for k in (2, 1, 0) if sum(points * (1 + min(k, nulls)) for points, nulls in curves) <= MOST_POINTS)
    return next(fitting, None)


def _curve(measure: Measure, names: Sequence[str], n_nulls: int) -> dict[str, Any]:
    """A measure along one axis, as lines of characters for a drawing; of the null models the first few.

    Heights lie between `low` and `high`, the same for all heads.
    """
    (axis,) = (axis for axis in measure.axes if axis not in AXES)
    index = index_of(measure, names)
    nulls = {null: null_mean(samples) for null, samples in list(measure.nulls.items())[:n_nulls]}
    known = measure.values[np.isfinite(measure.values)]
    low, high = known.min(initial=0.0), known.max(initial=0.0)
    values, *others = (
        _lines(_by_head(measure, array, index), low, high) for array in (measure.values, *nulls.values())
    )
    return {
        "axis": axis, "labels": [_label(label) for label in measure.labels(axis)], "low": _three_digits(low),
        "high": _three_digits(high), "lines": values, "nulls": dict(zip(nulls, others, strict=True)),
    }  # fmt: skip


def _lines(values: Float[np.ndarray, "row cell"], low: float, high: float) -> list[str]:
    heights = (values - low) / ((high - low) or 1.0) * (len(LEVELS) - 1)
    return ["".join(_level(height) for height in row) for row in heights.tolist()]


def _level(height: float) -> str:
    return "." if np.isnan(height) else LEVELS[min(max(round(height), 0), len(LEVELS) - 1)]


def _label(label: Any) -> str | int | float:
    return _three_digits(label) if isinstance(label, float) else label if isinstance(label, int) else str(label)
