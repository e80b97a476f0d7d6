"""The tasks of one gd-alignment run: which law, and three splits that share no task.

Generated tasks: a tuning, a nulls and an evaluation split from seeds of their own. A user's file is evaluated whole:
what has to be fitted for one half of its tasks is fitted on the other (cross-fitting), so no task judges a setting that
it helped to choose. Nulls fit nothing; on a file they use its first tasks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from ...data.batch import Batch
from ...data.errors import TaskError
from ...data.recipe import file_sha256, named_seed
from ...data.regression import LinearRegression
from ...data.tasks import load_tasks
from ...models.subject import Regressor

EVALUATION_TASKS = 10_000
NULL_TASKS = 2_000


@dataclass(frozen=True)
class Fold:
    """Tasks to evaluate, and others to fit settings on."""

    tuning: Batch
    evaluation: Batch


@dataclass(frozen=True)
class Splits:
    """folds: evaluation in the order of the tasks; law: None where the tasks' distribution is not known."""

    folds: tuple[Fold, ...]
    nulls: Batch
    evaluation: Batch
    law: LinearRegression | None

    @property
    def n_context(self) -> int:
        return self.evaluation.inputs.shape[1] - 1


def recorded_law(record: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the linear-regression tasks that a checkpoint says it was trained on; {} if it does not say."""
    tasks = record.get("recipe", {}).get("tasks", {})
    known = {field.name for field in fields(LinearRegression)}
    return {name: value for name, value in tasks.items() if name in known} if isinstance(tasks, Mapping) else {}


def generated_splits(subject: Regressor, given: Mapping[str, Any], n: int, seed: int) -> Splits:
    """Fresh tasks from the law the checkpoint was trained on, changed where the user says so."""
    recorded = recorded_law(subject.source.record)
    settings = {"n_context": subject.d_in, **recorded, "d_in": subject.d_in, "d_out": subject.d_out, **given}
    law = LinearRegression(**settings)
    tuning, nulls, evaluation = (
        _sample(law, count, named_seed(seed, purpose))
        for purpose, count in (("tuning", n), ("nulls", min(n, NULL_TASKS)), ("evaluation", n))
    )
    return Splits((Fold(tuning, evaluation),), nulls, evaluation, law)


@lru_cache(maxsize=8)
def _sample(law: LinearRegression, n: int, seed: int) -> Batch:
    """The same object for the same tasks, so that what was fitted on them for one seed of a family serves the next."""
    return law.sample(n, seed)


def file_splits(subject: Regressor, path: str, limit: int | None) -> Splits:
    """A user's tasks, all of them evaluated."""
    tasks = _load(path, limit, subject.d_out, file_sha256(path))
    width = tasks.inputs.shape[2]
    if width != subject.d_in + subject.d_out:
        raise TaskError(
            f"{path}: tokens are {width} wide, but the model takes {subject.d_in + subject.d_out}"
            f" (d_in = {subject.d_in} and d_out = {subject.d_out})"
        )
    half = len(tasks) // 2
    if half == 0:
        folds = (Fold(tasks, tasks),)  # a single task has no other half; the claim says so
    else:
        first, second = _halves(tasks)
        folds = (Fold(second, first), Fold(first, second))
    return Splits(folds, tasks[:NULL_TASKS], tasks, None)


@lru_cache(maxsize=2)
def _load(path: str, limit: int | None, d_out: int, sha256: str) -> Batch:
    """`sha256` is here so that a file that changed is read again."""
    return load_tasks(path, limit, d_out)


@lru_cache(maxsize=2)
def _halves(tasks: Batch) -> tuple[Batch, Batch]:
    half = len(tasks) // 2
    return tasks[:half], tasks[half:]
