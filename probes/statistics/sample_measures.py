"""Measures whose value is a mean over tasks, sequences, …: one number each in, estimate and paired bootstrap interval
out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from ..measure import Measure, Status, missing
from .bootstrap import bootstrap_means, percentile_interval


@dataclass(frozen=True)
class PerTask:
    """Samples [task, *axes] of one metric, and what the measure made of them must say."""

    samples: Float[np.ndarray, "task *axes"]
    unit: str
    axes: tuple[str, ...] = ()
    coords: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    nulls: Mapping[str, np.ndarray] = field(default_factory=dict)
    no_nulls: str = ""
    higher_is_better: bool | None = None
    message: str = ""
    replicate: str = "task"
    absent: Status = "undefined"
    """What the measure is where no sample has a finite value."""
    no_number: str = "NaN where the value is infinite (the model diverges there)"
    """What the message says of a measure that has no number in some places."""


_COLUMNS = 4096  # resampled at a time: their resamples take 64 MB


def task_measures(metrics: Mapping[str, PerTask], seed: int) -> dict[str, Measure]:
    """Means over tasks with their intervals. Metrics of as many tasks are resampled together, hence paired."""
    intervals: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    for n in {len(metric.samples) for metric in metrics.values()}:
        group = {name: metric.samples.reshape(n, -1) for name, metric in metrics.items() if len(metric.samples) == n}
        low, high = _interval(np.concatenate(list(group.values()), axis=1), seed)
        ends = np.cumsum([flat.shape[1] for flat in group.values()])[:-1]
        intervals |= dict(zip(group, zip(np.split(low, ends), np.split(high, ends), strict=True), strict=True))
    return {name: mean_measure(metric, *intervals[name]) for name, metric in metrics.items()}


def _interval(columns: Float[np.ndarray, "task column"], seed: int) -> tuple[np.ndarray, np.ndarray]:
    chunks = [columns[:, first : first + _COLUMNS] for first in range(0, columns.shape[1], _COLUMNS)]
    bounds = [percentile_interval(bootstrap_means(chunk, seed)) for chunk in chunks]
    low, high = (np.concatenate(bound) for bound in zip(*bounds, strict=True))
    return low, high


def mean_measure(metric: PerTask, low: np.ndarray, high: np.ndarray) -> Measure:
    """The means over tasks, between ends that were found of them."""
    n, *shape = metric.samples.shape
    values = np.asarray(metric.samples.astype(np.float64).mean(axis=0))
    if not np.isfinite(values).any():
        return missing(metric.unit, metric.absent, metric.message or f"no {metric.replicate} has a finite value")
    low, high = low.reshape(shape), high.reshape(shape)
    finite = np.isfinite(values)
    message = metric.message
    if not finite.all():
        message = (message + "; " if message else "") + metric.no_number
        values, low, high = (np.where(finite, array, np.nan) for array in (values, low, high))
    if n < 2:
        low = high = np.full_like(values, np.nan)
        message = (message + "; " if message else "") + f"one {metric.replicate} has no interval"
    return Measure(
        values,
        metric.unit,
        (low, high),
        replicate=metric.replicate,
        n=n,
        axes=metric.axes,
        coords=metric.coords,
        nulls=metric.nulls,
        no_nulls=metric.no_nulls,
        higher_is_better=metric.higher_is_better,
        message=message,
    )
