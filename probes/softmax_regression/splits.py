"""The tasks of one run: which law, and three splits that share no task.

A user's file is evaluated whole. What has to be fitted for one half of its tasks is fitted on the other, so that no
task judges a setting that it helped to choose; nulls fit nothing and use its first tasks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ...data.batch import Batch
from ...data.errors import TaskError
from ...data.recipe import Recipe, file_sha256, named_seed
from ...data.softmax_regression import SoftmaxRegression, load_softmax_tasks
from ..comparing.folds import Fold, halves

EVALUATION_TASKS, TUNING_TASKS, NULL_TASKS = 2_000, 2_000, 250


@dataclass(frozen=True)
class Splits:
    """folds: evaluation in the order of the tasks; law: None for a user's own tasks."""

    folds: tuple[Fold, ...]
    nulls: Batch
    evaluation: Batch
    law: SoftmaxRegression | None

    @property
    def n_tokens(self) -> int:
        return self.evaluation.inputs.shape[1]

    def recipes(self) -> dict[str, Recipe]:
        if self.law is None:
            return {"evaluation": self.evaluation.recipe}
        tuning = self.folds[0].tuning.recipe
        return {"tuning": tuning, "nulls": self.nulls.recipe, "evaluation": self.evaluation.recipe}


def recorded_law(record: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the tasks that a checkpoint says it was trained on; {} if it does not say."""
    tasks = record.get("recipe", {}).get("tasks", {})
    known = {field.name for field in fields(SoftmaxRegression)}
    return {name: value for name, value in tasks.items() if name in known} if isinstance(tasks, Mapping) else {}


def generated_splits(law: SoftmaxRegression, n: int, seed: int) -> Splits:
    """Fresh tasks of a law."""
    tuning, nulls, evaluation = (
        law.sample(count, named_seed(seed, purpose))
        for purpose, count in (("tuning", min(n, TUNING_TASKS)), ("nulls", min(n, NULL_TASKS)), ("evaluation", n))
    )
    return Splits((Fold(tuning, evaluation),), nulls, evaluation, law)


@dataclass(frozen=True)
class TaskFile:
    """A user's tasks on disk. Its digest makes a file that changed another one."""

    path: str
    sha256: str
    limit: int | None
    d_in: int


def task_file(path: str, limit: int | None, d_in: int) -> TaskFile:
    """The file as it is now, for a model of this width."""
    return TaskFile(path, file_sha256(path), limit, d_in)


def file_splits(file: TaskFile) -> Splits:
    """A user's tasks, all of them evaluated."""
    tasks = load_softmax_tasks(file.path, file.limit)
    if (width := tasks.inputs.shape[2]) != file.d_in:
        raise TaskError(f"{file.path}: rows of A are {width} wide, but the model takes {file.d_in}")
    return Splits(halves(tasks), tasks[:NULL_TASKS], tasks, None)
