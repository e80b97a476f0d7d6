"""Numbers of saved reports, seed by seed, as statistics."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from jaxtyping import Float

from ....probes.measure import Measure, last_step
from ....probes.statistics.bootstrap import t_interval
from ...reports.record import Record
from ..judging import Statistic

Reports = Mapping[str, Record]
"""By the keys of a figure's needs."""
PerSeed = Float[np.ndarray, "#seed *axes"]
Wanted = Mapping[str, Callable[[], Statistic | PerSeed]]


class Lacking(Exception):
    """A number that a report does not have; the message says why."""


def measure_of(report: Record, name: str, **labels: Any) -> Measure:
    """A measure at some labels, steps and all. Lacking where it has no number."""
    if name not in report.measures:
        raise Lacking(f"{report.probe} {report.probe_version} measured no {name}")
    whole = report.measures[name]
    if not whole.has_number:
        raise Lacking(f"{name}: {whole.message or whole.status}")
    try:
        found = whole.sel(**labels)
    except ValueError as error:
        raise Lacking(f"{name}: {error}") from error
    if not found.has_number:
        raise Lacking(f"{name}: {found.message or found.status}")
    return found


def at_last_step(report: Record, name: str, **labels: Any) -> Measure:
    """A measure at some labels, at the last step. Lacking where it has no number."""
    found = last_step({name: measure_of(report, name, **labels)})[name]
    if not found.has_number:
        raise Lacking(f"{name}: it has no number at the last step: {found.message or found.status}")
    return found


def per_seed(report: Record, name: str, **labels: Any) -> PerSeed:
    """A measure at the last step, one value a seed; one value in all where it is the same for every seed."""
    return _points(at_last_step(report, name, **labels))


def courses(report: Record, name: str, **labels: Any) -> tuple[tuple[int, ...], Float[np.ndarray, "seed step"]]:
    """A measure over steps, one row a seed."""
    found = measure_of(report, name, **labels)
    if found.axes != ("step",):
        raise Lacking(f"{name} was measured at one step alone")
    return found.labels("step"), _points(found)


def _points(measure: Measure) -> PerSeed:
    """Values by seed. Where all seeds have the same number, as at the steps at which they are alike, a report keeps it
    once.
    """
    if measure.points is None:
        return measure.values[None]
    return np.where(np.isnan(measure.points).all(axis=0), measure.values, measure.points)


def statistic(values: Float[np.ndarray, " seed"]) -> Statistic:
    """The mean over seeds with its t-interval; of one seed the number itself. Lacking where a seed has no number."""
    if not np.isfinite(values).all():
        raise Lacking(f"{int((~np.isfinite(values)).sum())} of {len(values)} seeds have no number")
    if len(values) == 1:
        return Statistic.of_one(float(values[0]))
    low, high = t_interval(values)
    return Statistic(float(values.mean()), float(low), float(high), len(values))


def geometric(values: Float[np.ndarray, " seed"]) -> Statistic:
    """The geometric mean with the t-interval of the logarithms: for ratios that differ in orders of size."""
    of_logs = statistic(np.log(values))
    value, low, high = np.exp([of_logs.value, of_logs.low, of_logs.high]).tolist()
    return Statistic(value, low, high, of_logs.n_seeds)


def gap(ours: PerSeed, other: PerSeed) -> PerSeed:
    """The difference as a share of the other."""
    return (ours - other) / other


def loss_gap(report: Record, candidate: str) -> PerSeed:
    """The gap of the model's loss to a candidate's, seed by seed."""
    return gap(per_seed(report, "loss", candidate="model"), per_seed(report, "loss", candidate=candidate))


def loss_over(report: Record, candidate: str) -> PerSeed:
    """The model's loss over a candidate's, seed by seed."""
    return per_seed(report, "loss", candidate="model") / per_seed(report, "loss", candidate=candidate)


def collected(wanted: Wanted) -> tuple[dict[str, Statistic], dict[str, str]]:
    """The statistics that exist, and of the others why they do not."""
    found: dict[str, Statistic] = {}
    lacking: dict[str, str] = {}
    for name, compute in wanted.items():
        try:
            value = compute()
            found[name] = value if isinstance(value, Statistic) else statistic(value)
        except Lacking as why:
            lacking[name] = str(why)
    return found, lacking
