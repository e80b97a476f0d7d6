"""Measures that have a value for each candidate: one measure with an axis, not a measure a candidate."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from ..measure import Measure, Status, along, missing
from ..statistics.sample_measures import PerTask, task_measures

CANDIDATE = "candidate"
"""The axis of measures that have a value for each candidate."""
OTHER_CANDIDATE = "other_candidate"
MODEL = "model"
"""The examined model itself, where it stands among the candidates: its loss beside theirs."""
Samples = Mapping[str, Mapping[str, PerTask]]
"""By metric and candidate."""


def flat_samples(metrics: Samples) -> dict[str, PerTask]:
    """By the name that a candidate's part of the measure has: "cosine_gd"."""
    return {f"{metric}_{name}": held for metric, found in metrics.items() for name, held in found.items()}


def measures_by_candidate(
    metrics: Samples, seed: int, others: Mapping[str, PerTask] | None = None
) -> dict[str, Measure]:
    """Means over tasks, all resampled together, hence paired.

    others:  metrics without candidates, resampled along
    """
    others = others or {}
    found = task_measures({**flat_samples(metrics), **others}, seed)
    stacked = {
        metric: along(CANDIDATE, {name: found[f"{metric}_{name}"] for name in held}) for metric, held in metrics.items()
    }
    return stacked | {name: found[name] for name in others}


def missing_by_candidate(names: Iterable[str], unit: str, status: Status, reason: str) -> Measure:
    """A measure that has no number for any candidate, and why."""
    return along(CANDIDATE, dict.fromkeys(names, missing(unit, status, reason)))
