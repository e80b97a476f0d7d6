"""Measures whose value is a mean over tasks: one number a task in, estimate and paired bootstrap interval out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Float

from .measure import Measure, missing
from .statistics import bootstrap_means, percentile_interval


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


def task_measures(metrics: Mapping[str, PerTask], seed: int) -> dict[str, Measure]:
    """Means over tasks with their intervals. Metrics of as many tasks are resampled together, hence paired."""
    resampled: dict[str, np.ndarray] = {}
    for n in {len(metric.samples) for metric in metrics.values()}:
        group = {name: metric.samples.reshape(n, -1) for name, metric in metrics.items() if len(metric.samples) == n}
        columns = bootstrap_means(np.concatenate(list(group.values()), axis=1), seed)
        ends = np.cumsum([flat.shape[1] for flat in group.values()])
        resampled |= dict(zip(group, np.split(columns, ends[:-1], axis=1), strict=True))
    return {name: _measure(metric, resampled[name]) for name, metric in metrics.items()}


def _measure(metric: PerTask, resampled: np.ndarray) -> Measure:
    n, *shape = metric.samples.shape
    values = np.asarray(metric.samples.astype(np.float64).mean(axis=0))
    if not np.isfinite(values).any():
        return missing(metric.unit, "undefined", metric.message or "no task has a finite value")
    low, high = percentile_interval(resampled.reshape(len(resampled), *shape))
    finite = np.isfinite(values)
    message = metric.message
    if not finite.all():
        message = (message + "; " if message else "") + "NaN where the value is infinite (the model diverges there)"
        values, low, high = (np.where(finite, array, np.nan) for array in (values, low, high))
    if n < 2:
        low = high = np.full_like(values, np.nan)
        message = (message + "; " if message else "") + "one task has no interval"
    return Measure(
        values,
        metric.unit,
        (low, high),
        replicate="task",
        n=n,
        axes=metric.axes,
        coords=metric.coords,
        nulls=metric.nulls,
        no_nulls=metric.no_nulls,
        higher_is_better=metric.higher_is_better,
        message=message,
    )
