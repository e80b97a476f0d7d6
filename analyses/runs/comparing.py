"""Reports side by side: what each found, and the differences with their intervals."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from ...data.errors import UsageError
from ...probes.measure import Measure, flat
from ...probes.statistics.bootstrap import bootstrap_means
from ..reports.record import Record
from ..reports.tidy import OWN_COLUMN, place

COLUMNS = (
    "metric", *OWN_COLUMN, "data", "unit", "report_a", "estimate_a", "report_b", "estimate_b", "difference", "ci_low",
    "ci_high", "method", "message",
)  # fmt: skip
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
    """
    if len(reports) < 2:
        raise UsageError(f"compare: {len(reports)} report given, expected at least 2")
    names = _names(reports)
    first = reports[0]
    rows = [row for b, name in zip(reports[1:], names[1:], strict=True) for row in _rows(first, names[0], b, name)]
    if not rows:
        raise UsageError(f"{', '.join(names)}: no measure in common; compare reports of the same probe")
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _names(reports: Sequence[Record]) -> list[str]:
    """Labels; with their keys where two would be the same."""
    labels = [report.label for report in reports]
    return [
        label if labels.count(label) == 1 else f"{label} ({r.key})" for label, r in zip(labels, reports, strict=True)
    ]


def _rows(a: Record, name_a: str, b: Record, name_b: str) -> Iterator[dict[str, Any]]:
    paired = _paired_intervals(a, b)
    measures, others = flat(a.measures), flat(b.measures)
    for metric in [name for name in measures if name in others]:
        one, other = measures[metric], others[metric]
        if (one.axes, one.values.shape, dict(one.coords)) != (other.axes, other.values.shape, dict(other.coords)):
            continue  # not the same cells: nothing to subtract
        (low, high), method = (paired[metric], BOOTSTRAP) if metric in paired else _unpaired(one, other)
        method = method.format(*((one.n, one.replicate) if method == BOOTSTRAP else (one.n, other.n, one.replicate)))
        for cell in np.ndindex(one.values.shape):
            difference = other.values[cell] - one.values[cell]
            yield {
                "metric": metric,
                **place(one, cell),
                "unit": one.unit,
                "report_a": name_a,
                "estimate_a": float(one.values[cell]),
                "report_b": name_b,
                "estimate_b": float(other.values[cell]),
                "difference": float(difference),
                "ci_low": float(low[cell]),
                "ci_high": float(high[cell]),
                "method": method if np.isfinite(low[cell]) else NONE,
                "message": "; ".join(dict.fromkeys(filter(None, (one.message, other.message)))),
            }


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
    if not both:
        return {}
    differences = [b.arrays[name] - a.arrays[name] for name in both]
    means = bootstrap_means(np.concatenate([array.reshape(len(array), -1) for array in differences], axis=1), SEED)
    ends = np.cumsum([array[0].size for array in differences])[:-1]
    parts = zip(*(np.split(bound, ends) for bound in np.quantile(means, (0.025, 0.975), axis=0)), strict=True)
    shapes = [array.shape[1:] for array in differences]
    return {
        name: (low.reshape(shape), high.reshape(shape))
        for name, shape, (low, high) in zip(both, shapes, parts, strict=True)
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
