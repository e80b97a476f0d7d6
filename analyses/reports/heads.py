"""One row a head: its verdict, and the numbers that its probe names. Needs no torch, and pandas for `frame` alone.

Which numbers, the module `heads` of the probe's package says in `COLUMNS`; of a probe without one it is every measure
that has a number for each head. Of several steps it is the last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from jaxtyping import Float, Int

from ...data.errors import UsageError
from ...probes.findings import head_from
from ...probes.head_columns import NO_VERDICT, HeadColumn
from ...probes.measure import Measure, flat, last_step, null_mean
from .parts import part
from .record import Record

if TYPE_CHECKING:
    import pandas as pd

AXES = ("layer", "head")
MOST_DECIMALS = 6
MOST_COLUMNS = 12
"""Numbers a head that tables for people hold; `frame` has all."""
NOTHING = "–"
"""Stands where there is no number."""
Place = tuple[Any, Any]
PerHead = Float[np.ndarray, " row"]


@dataclass(frozen=True)
class Column:
    """One number a head, in the order of the rows; NaN where there is none.

    null:     the mean of the null model that is called null_name
    measure:  where the numbers come from; None where the report has no such numbers
    index:    of each row among the measure's cells; -1 where it has none
    """

    of: HeadColumn
    values: PerHead
    low: PerHead
    high: PerHead
    null: PerHead
    null_name: str
    measure: Measure | None
    index: Int[np.ndarray, " row"]

    @property
    def has_number(self) -> bool:
        return bool(np.isfinite(self.values).any())

    @property
    def has_null(self) -> bool:
        """Whether the probe names a null model to stand beside the number."""
        return bool(self.of.null) and bool(np.isfinite(self.null).any())

    @cached_property
    def decimals(self) -> int:
        """Of every number of the column: three digits of the largest."""
        largest = np.abs(self.values[np.isfinite(self.values)]).max(initial=0.0)
        return int(np.clip(3 - np.ceil(np.log10(largest)), 0, MOST_DECIMALS)) if largest > 0 else 0

    def text(self, value: float) -> str:
        """A number of the column for people; a dash where there is none."""
        if np.isnan(value):
            return NOTHING
        rounded = f"{value:.{self.decimals}f}"
        return rounded if float(rounded) else f"{0:.{self.decimals}f}"

    def estimate(self, row: int) -> str:
        """The number of a row. One without an interval that rounds to nothing, such as a p value, is below a limit."""
        value, smallest = float(self.values[row]), 10.0**-self.decimals
        if np.isnan(self.low[row]) and 0 < value < smallest / 2:
            return f"<{smallest:.{self.decimals}f}"
        return self.text(value)

    def interval(self, row: int) -> str:
        """[low, high], or nothing."""
        low, high = float(self.low[row]), float(self.high[row])
        return "" if np.isnan(low) or np.isnan(high) else f"[{self.text(low)}, {self.text(high)}]"


@dataclass(frozen=True)
class HeadTable:
    """names: L3H5, by layer and head; places: their layers and heads; verdicts: "" where the probe gives none."""

    names: tuple[str, ...]
    places: tuple[Place, ...]
    verdicts: tuple[str, ...]
    columns: tuple[Column, ...]
    ranked: bool

    @property
    def shown(self) -> list[Column]:
        """The columns that have a number, as many as people read beside each other."""
        return [column for column in self.columns if column.has_number][:MOST_COLUMNS]

    @property
    def called(self) -> list[int]:
        """The rows of heads that have a verdict; all rows where none has."""
        rows = self.by_rank
        return [row for row in rows if self.verdicts[row] not in NO_VERDICT] or rows

    @property
    def by_rank(self) -> list[int]:
        """Heads with a verdict first; of these, and of the others, the largest number of the first column first, where
        the probe says which column that is.
        """
        first = self.columns[0].values if self.ranked and self.columns else np.zeros(len(self.names))
        keys = [(self.verdicts[row] in NO_VERDICT, bool(np.isnan(v)), -v) for row, v in enumerate(first.tolist())]
        return sorted(range(len(self.names)), key=lambda row: keys[row])

    def counts(self) -> dict[str, int]:
        """Heads of each verdict, the commonest last; heads that have none are left out."""
        found = Counter(verdict for verdict in self.verdicts if verdict)
        return dict(sorted(found.items(), key=lambda item: (item[0] in NO_VERDICT, item[1])))


def head_table(report: Record) -> HeadTable | None:
    """The heads of a report, or None where it has neither numbers nor verdicts of heads."""
    measures = last_step(flat(report.measures))
    declared = getattr(part(report.probe, "heads"), "COLUMNS", ())
    columns = declared or [HeadColumn(name, name) for name, measure in measures.items() if _of_heads(measure)]
    found = [(column, _selected(report, column)) for column in columns]
    places = _places([measure for _, measure in found if measure is not None], report.heads)
    if not places:
        return None
    made = [_column(column, measure, list(places)) for column, measure in found]
    verdicts = tuple(str(report.heads.get(name, "")) for name in places)
    return HeadTable(tuple(places), tuple(places.values()), verdicts, tuple(made), ranked=bool(declared))


def _of_heads(measure: Measure | None) -> bool:
    return measure is not None and measure.status == "ok" and measure.axes == AXES


def _selected(report: Record, column: HeadColumn) -> Measure | None:
    """The measure behind a column, of the last step; None where the report has no such numbers."""
    measure = report.measures.get(column.measure)
    if measure is None or any(label not in measure.coords.get(axis, ()) for axis, label in column.labels.items()):
        return None
    (chosen,) = last_step({"": measure.sel(**column.labels)}).values()
    return chosen if _of_heads(chosen) else None


def _places(measures: Sequence[Measure], verdicts: Mapping[str, str]) -> dict[str, Place]:
    """Layer and head of every head that has a number or a verdict, by name."""
    measured = {name: place for measure in measures for name, place in _named(measure)}
    called = {name: _read(name) for name in verdicts if name not in measured}
    return measured | dict(sorted(called.items(), key=lambda item: (item[1][0] is None, item[1])))


def _named(measure: Measure) -> list[tuple[str, Place]]:
    """Every head of a measure in the order of its cells."""
    layers, heads = (measure.labels(axis) for axis in AXES)
    return [(f"L{layer}H{head}", (layer, head)) for layer in layers for head in heads]


def _read(name: str) -> Place:
    try:
        return head_from(name)
    except ValueError:  # somebody's own name for a head
        return None, None


def _column(column: HeadColumn, measure: Measure | None, names: Sequence[str]) -> Column:
    nothing = np.full(len(names), np.nan)
    if measure is None:
        return Column(column, nothing, nothing, nothing, nothing, "", None, np.full(len(names), -1))
    index = index_of(measure, names)
    null = column.null if column.null in measure.nulls else next(iter(measure.nulls), "")
    low, high = measure.interval
    mean = null_mean(measure.nulls[null]) if null else np.full(measure.values.shape, np.nan)
    values, low, high, mean = (per_head(array, index) for array in (measure.values, low, high, mean))
    return Column(column, values, low, high, mean, null, measure, index)


def index_of(measure: Measure, names: Sequence[str]) -> Int[np.ndarray, " row"]:
    """Of each head the place among the measure's heads; -1 where it has no such head."""
    cells = {name: cell for cell, (name, _) in enumerate(_named(measure))}
    return np.array([cells.get(name, -1) for name in names], dtype=int)


def per_head(array: np.ndarray, index: Int[np.ndarray, " row"]) -> PerHead:
    """The cells [layer, head] of an array, in the order of rows; NaN where the index is -1."""
    return np.where(index < 0, np.nan, array.ravel()[index])


def frame(report: Record) -> pd.DataFrame:
    """One row a head, indexed by its name. See `Report.heads_frame`."""
    import pandas as pd

    table = head_table(report)
    if table is None:
        raise UsageError(_nothing(report))
    layers, heads = zip(*table.places, strict=True)
    cells: dict[str, Any] = {"layer": layers, "head": heads, "verdict": table.verdicts}
    for column in table.columns:
        name = column.of.name
        cells[name] = column.values
        cells |= {f"{name}_low": column.low, f"{name}_high": column.high, f"{name}_null": column.null}
        cells[f"{name}_p"] = _p(column)
    made = pd.DataFrame(cells, index=pd.Index(table.names, name="name"))
    return made.astype({"layer": "Int64", "head": "Int64"}) if _whole((*layers, *heads)) else made


def _whole(labels: Sequence[Any]) -> bool:
    return all(label is None or isinstance(label, int) for label in labels)


def _p(column: Column) -> PerHead:
    from .tidy import compared_with_null  # pandas and scipy take a second to import

    if column.measure is None or not column.null_name:
        return np.full(len(column.values), np.nan)
    samples = column.measure.nulls[column.null_name]
    return per_head(compared_with_null(column.measure, samples)["p"], column.index)


def _nothing(report: Record) -> str:
    """Why a report has no row for a head, and what it has instead."""
    measures = flat(report.measures)
    reasons = [m.message for m in measures.values() if m.status != "ok" and "heads of different" in m.message]
    axes = dict.fromkeys(axis for measure in measures.values() for axis in measure.axes)
    single = sum(measure.status == "ok" and not measure.axes for measure in measures.values())
    why = f" ({reasons[0]})" if reasons else ""
    along = f", and measures along {', '.join(map(str, axes))}" if axes else ""
    return (
        f"{report.probe} on {report.label} has no number for each head{why}. It has {single} single numbers{along}:"
        " see report.to_frame()"
    )
