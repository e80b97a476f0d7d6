"""Reports side by side: what each found, and the differences with their intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from jaxtyping import Float
from scipy import stats

from ...data.errors import UsageError
from ...probes.measure import Measure, flat
from ...probes.statistics.bootstrap import bootstrap_means, percentile_interval
from ..reports.heads import Column, HeadTable, head_table
from ..reports.record import Record
from ..reports.tidy import OWN_COLUMN, place

COLUMNS = (
    "metric", *OWN_COLUMN, "data", "verdict_a", "verdict_b", "unit", "report_a", "estimate_a", "report_b", "estimate_b",
    "difference", "ci_low", "ci_high", "p", "p_adjusted", "method", "message",
)  # fmt: skip
NUMBERS = ("estimate_a", "estimate_b", "difference", "ci_low", "ci_high", "p", "p_adjusted")
SEED = 0
"""Of the bootstrap: the same draws for every metric and every call."""
BOOTSTRAP = "paired bootstrap over {} {}s"
OF_ONE_CHECKPOINT = {"task", "sequence", "document"}  # inputs, which two reports may share
WELCH = "Welch t over {} and {} {}s"
INTERVALS = "both intervals combined, as if independent"
NONE = "none"
Interval = tuple[np.ndarray, np.ndarray]


def compare(reports: Sequence[Record]) -> pd.DataFrame:
    """Each report beside the first, a row a number: both estimates, b - a, its 95 % interval and how that was found.

    Reports that measured the same evaluation inputs (tasks, sequences) and hold a value for each of them are compared
    one by one (paired bootstrap). Reports over seeds are compared by Welch's t. Otherwise the difference's interval
    comes from the two intervals as if they were independent and symmetric, which for the same inputs is too wide.

    `p` is two-sided and read off the interval; `p_adjusted` controls the false discovery rate over all numbers of two
    reports (Benjamini & Hochberg 1995). The number of a head has the verdicts that both reports give that head.
    """
    if len(reports) < 2:
        raise UsageError(f"compare: {len(reports)} report given, expected at least 2")
    names = names_of(reports)
    first = reports[0]
    tables = [_pair(first, names[0], b, name) for b, name in zip(reports[1:], names[1:], strict=True)]
    if not any(map(len, tables)):
        raise UsageError(f"{', '.join(names)}: {_nothing_in_common(reports)}")
    return pd.concat([table for table in tables if len(table)], ignore_index=True)


def _nothing_in_common(reports: Sequence[Record]) -> str:
    if len({report.probe for report in reports}) > 1:
        return "no measure in common; compare reports of the same probe"
    return "no measure has the same axes and labels in both; over several steps, compare reports of the same steps"


@dataclass(frozen=True)
class ChangedHead:
    """A head with another verdict in b than in a, and a number of it in both.

    values:  of the measure `of`, as texts with their intervals
    """

    head: str
    verdict_a: str
    verdict_b: str
    of: str
    value_a: str
    value_b: str


def changed_heads(a: Record, b: Record) -> list[ChangedHead]:
    """The heads whose verdict is another, those that b names first, each with a number: the first of the probe's table
    of heads that both reports have for all of these heads. Empty unless both reports give verdicts.
    """
    one, other = head_table(a), head_table(b)
    if one is None or other is None or a.probe != b.probe or not (a.heads and b.heads):
        return []
    places = {name: row for row, name in enumerate(one.names)}
    pairs = [(places[name], row) for row in other.by_rank if (name := other.names[row]) in places]
    changed = [(old, new) for old, new in pairs if one.verdicts[old] != other.verdicts[new]]
    columns = _in_both(one, other, changed)
    return [
        ChangedHead(
            other.names[new],
            one.verdicts[old],
            other.verdicts[new],
            *(("", "", "") if columns is None else _numbers(columns, old, new)),
        )
        for old, new in changed
    ]


def _in_both(one: HeadTable, other: HeadTable, rows: Sequence[tuple[int, int]]) -> tuple[Column, Column] | None:
    """The first column that has a number for all these heads in both tables."""
    columns = {column.of.name: column for column in other.columns}
    for column in one.columns:
        match = columns.get(column.of.name)
        if match is not None and all(np.isfinite([column.values[old], match.values[new]]).all() for old, new in rows):
            return column, match
    return None


def _numbers(columns: tuple[Column, Column], old: int, new: int) -> tuple[str, str, str]:
    """What the numbers are of, and both."""
    a, b = (
        f"{column.estimate(row)} {column.interval(row)}".strip()
        for column, row in zip(columns, (old, new), strict=True)
    )
    return columns[0].of.heading, a, b


def not_compared(a: Record, b: Record) -> dict[str, list[str]]:
    """Measures of which there is nothing to subtract, under the reason."""
    one, other = flat(a.measures), flat(b.measures)
    return {
        "only in a": [name for name in one if name not in other],
        "only in b": [name for name in other if name not in one],
        "other axes or labels": [name for name in one if name in other and not _same_cells(one[name], other[name])],
    }


def _same_cells(a: Measure, b: Measure) -> bool:
    return (a.axes, a.values.shape, dict(a.coords)) == (b.axes, b.values.shape, dict(b.coords))


def _pair(a: Record, name_a: str, b: Record, name_b: str) -> pd.DataFrame:
    # as objects: a layer beside a number without layers would become a float
    table = pd.DataFrame(list(_rows(a, name_a, b, name_b)), columns=list(COLUMNS), dtype=object)
    table = table.astype(dict.fromkeys(NUMBERS, "float64"))
    p = table["p"].to_numpy()
    if (known := np.isfinite(p)).any():
        table.loc[known, "p_adjusted"] = stats.false_discovery_control(p[known])
    return table


def names_of(reports: Sequence[Record]) -> list[str]:
    """What reports are called side by side: labels, with their keys where two would be the same."""
    labels = [report.label for report in reports]
    return [
        label if labels.count(label) == 1 else f"{label} ({r.key})" for label, r in zip(labels, reports, strict=True)
    ]


def _rows(a: Record, name_a: str, b: Record, name_b: str) -> Iterator[dict[str, Any]]:
    paired = _paired_intervals(a, b)
    measures, others = flat(a.measures), flat(b.measures)
    for metric in [name for name in measures if name in others]:
        one, other = measures[metric], others[metric]
        if not _same_cells(one, other):
            continue  # nothing to subtract: see `not_compared`
        (low, high), method = (paired[metric], BOOTSTRAP) if metric in paired else _unpaired(one, other)
        method = method.format(*((one.n, one.replicate) if method == BOOTSTRAP else (one.n, other.n, one.replicate)))
        p = p_of_interval(np.asarray(other.values - one.values), low, high, min(one.n, other.n) - 1)
        for cell in np.ndindex(one.values.shape):
            where = place(one, cell)
            yield {
                "metric": metric,
                **where,
                **_verdicts(a, b, where),
                "unit": one.unit,
                "report_a": name_a,
                "estimate_a": float(one.values[cell]),
                "report_b": name_b,
                "estimate_b": float(other.values[cell]),
                "difference": float(other.values[cell] - one.values[cell]),
                "ci_low": float(low[cell]),
                "ci_high": float(high[cell]),
                "p": float(p[cell]),
                "method": method if np.isfinite(low[cell]) else NONE,
                "message": "; ".join(dict.fromkeys(filter(None, (one.message, other.message)))),
            }


def _verdicts(a: Record, b: Record, where: Mapping[str, Any]) -> dict[str, str | None]:
    name = f"L{where.get('layer')}H{where.get('head')}"
    return {"verdict_a": a.heads.get(name), "verdict_b": b.heads.get(name)}


def p_of_interval(
    difference: Float[np.ndarray, "*axes"],
    low: Float[np.ndarray, "*axes"],
    high: Float[np.ndarray, "*axes"],
    freedom: int,
) -> Float[np.ndarray, "*axes"]:
    """Two-sided p of a difference, from how far its 95 % interval reaches towards 0: below 0.05 exactly where the
    interval excludes 0. The tails are those of Student's t with so many degrees of freedom, at least 1.
    """
    freedom = max(freedom, 1)
    reach = np.where(difference > 0, difference - low, high - difference)
    with np.errstate(divide="ignore", invalid="ignore"):
        distance = np.abs(difference) / reach * stats.t.ppf(0.975, freedom)
    p = 2 * stats.t.sf(np.where(reach > 0, distance, np.inf), freedom)
    return np.where(np.isfinite(difference) & np.isfinite(reach), np.where(difference == 0, 1.0, p), np.nan)


# -- the same inputs --------------------------------------------------------------------------------------------------


def _paired_intervals(a: Record, b: Record) -> Mapping[str, Interval]:
    """Intervals of the differences of those means whose values both reports hold for every one of the same inputs."""
    recipes = [report.recipes.get("evaluation", {}).get("sha256") for report in (a, b)]
    if recipes[0] is None or recipes[0] != recipes[1]:
        return {}
    both = [
        name
        for name in flat(a.measures)
        if _is_mean(a, name) and _is_mean(b, name) and a.arrays[name].shape == b.arrays[name].shape
    ]
    differences = {name: b.arrays[name] - a.arrays[name] for name in both}
    groups: dict[int, dict[str, np.ndarray]] = {len(array): {} for array in differences.values()}
    for name, array in differences.items():
        groups[len(array)][name] = array
    return {name: interval for group in groups.values() for name, interval in _bootstrapped(group).items()}


def _bootstrapped(differences: Mapping[str, np.ndarray]) -> dict[str, Interval]:
    """Of arrays over as many inputs, resampled together."""
    columns = [array.reshape(len(array), -1) for array in differences.values()]
    bounds = percentile_interval(bootstrap_means(np.concatenate(columns, axis=1), SEED))
    ends = np.cumsum([flat.shape[1] for flat in columns])[:-1]
    parts = zip(*(np.split(bound, ends) for bound in bounds), strict=True)
    return {
        name: (low.reshape(array.shape[1:]), high.reshape(array.shape[1:]))
        for (name, array), (low, high) in zip(differences.items(), parts, strict=True)
    }


def _is_mean(report: Record, name: str) -> bool:
    """Whether a measure is the mean of the array of its name. A sample of the inputs has another mean."""
    measure, array = flat(report.measures).get(name), report.arrays.get(name)
    if measure is None or array is None or measure.replicate not in OF_ONE_CHECKPOINT:
        return False
    if array.shape != (measure.n, *measure.values.shape):
        return False
    return bool(np.isclose(array.mean(axis=0), measure.values, rtol=1e-9, atol=1e-12, equal_nan=True).all())


# -- different tasks, or seeds -----------------------------------------------------------------------------------------


def _unpaired(a: Measure, b: Measure) -> tuple[Interval, str]:
    if a.points is not None and b.points is not None and a.replicate == b.replicate:
        return _welch(a.points, b.points), WELCH
    half = [np.stack([m.values - m.interval[0], m.interval[1] - m.values]) for m in (a, b)]
    difference = b.values - a.values
    # how far down b - a reaches: b down and a up
    down, up = np.hypot(half[1][0], half[0][1]), np.hypot(half[1][1], half[0][0])
    return (np.asarray(difference - down), np.asarray(difference + up)), INTERVALS


def _welch(a: np.ndarray, b: np.ndarray) -> Interval:
    """Welch's t-interval of mean(b) - mean(a), cell by cell over the replicates where each is defined."""
    shape = a.shape[1:]
    low, high = np.full(shape, np.nan), np.full(shape, np.nan)
    for cell in np.ndindex(shape):
        x, y = (points[(slice(None), *cell)] for points in (a, b))
        x, y = x[np.isfinite(x)], y[np.isfinite(y)]
        if min(len(x), len(y)) > 1:
            low[cell], high[cell] = _welch_interval(x, y)
    return low, high


def _welch_interval(x: np.ndarray, y: np.ndarray) -> tuple[float, float]:
    difference = float(y.mean() - x.mean())
    if x.std() == 0 and y.std() == 0:
        return difference, difference  # scipy would divide nothing by nothing
    interval = stats.ttest_ind(y, x, equal_var=False).confidence_interval(0.95)
    return float(interval.low), float(interval.high)
