"""A user's own tasks, each half judged by what was fitted on the other (cross-fitting)."""

from __future__ import annotations

from dataclasses import dataclass

from ...data.batch import Batch


@dataclass(frozen=True)
class Fold:
    """Tasks to evaluate, and others to fit settings on."""

    tuning: Batch
    evaluation: Batch


def halves(tasks: Batch) -> tuple[Fold, ...]:
    """Both, in the order of the tasks. A single task has no other half: it is judged by itself."""
    half = len(tasks) // 2
    if half == 0:
        return (Fold(tasks, tasks),)
    first, second = tasks[:half], tasks[half:]
    return (Fold(second, first), Fold(first, second))
