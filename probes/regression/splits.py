"""The tasks that a regression model is examined on: which law, and three splits that share no task.

Generated tasks: a tuning, a nulls and an evaluation split from seeds of their own. A user's file is evaluated whole:
what has to be fitted for one half of its tasks is fitted on the other (cross-fitting), so no task judges a setting that
it helped to choose. Nulls fit nothing; on a file they use its first tasks.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from ...data.batch import Batch
from ...data.errors import TaskError
from ...data.recipe import Recipe, file_sha256, named_seed
from ...data.regression import GaussianRegression, LinearRegression, RegressionTasks, linear_regression
from ...data.sine import SineRegression
from ...data.tasks import load_tasks
from ...models.subject import Regressor
from ..comparing.folds import Fold, halves

EVALUATION_TASKS = 10_000
NULL_TASKS = 2_000


@dataclass(frozen=True)
class Splits:
    """folds: evaluation in the order of the tasks; law: of linear tasks, None where they are others or not known."""

    folds: tuple[Fold, ...]
    nulls: Batch
    evaluation: Batch
    law: LinearRegression | None

    @property
    def n_context(self) -> int:
        return self.evaluation.inputs.shape[1] - 1

    @property
    def recipes(self) -> dict[str, Recipe]:
        tuning = self.folds[0].tuning.recipe
        if tuning == self.evaluation.recipe:  # of one file
            return {"evaluation": tuning}
        return {"tuning": tuning, "nulls": self.nulls.recipe, "evaluation": self.evaluation.recipe}


def recorded_law(record: Mapping[str, Any]) -> dict[str, Any]:
    """Settings of the linear-regression tasks that a checkpoint says it was trained on; {} if it does not say."""
    tasks = record.get("recipe", {}).get("tasks", {})
    known = {field.name for field in fields(GaussianRegression)}
    return {name: value for name, value in tasks.items() if name in known} if isinstance(tasks, Mapping) else {}


def trained_on_sines(record: Mapping[str, Any]) -> bool:
    """Whether a checkpoint says so."""
    tasks = record.get("recipe", {}).get("tasks", {})
    return isinstance(tasks, Mapping) and "amplitudes" in tasks


def law_of_tasks(subject: Regressor, changed: Mapping[str, Any]) -> LinearRegression:
    """The law that the checkpoint was trained on, changed where the user says so."""
    recorded = recorded_law(subject.source.record)
    settings = {"n_context": subject.d_in, **recorded, "d_in": subject.d_in, "d_out": subject.d_out, **changed}
    return linear_regression(settings)


def sines_of_tasks(subject: Regressor, changed: Mapping[str, Any]) -> SineRegression:
    """The same of a checkpoint that was trained on sines."""
    recorded, known = subject.source.record["recipe"]["tasks"], {field.name for field in fields(SineRegression)}
    settings = {name: value for name, value in recorded.items() if name in known} | dict(changed)
    if surplus := sorted(set(settings) - known):
        raise TaskError(
            f"{surplus[0]} = {settings[surplus[0]]} for tasks of sines; expected {', '.join(sorted(known))}"
        )
    return SineRegression(**{**settings, "amplitudes": tuple(settings["amplitudes"])})


def generated_splits(law: RegressionTasks, n: int, seed: int) -> Splits:
    """Fresh tasks of a law."""
    tuning, nulls, evaluation = (
        law.sample(count, named_seed(seed, purpose))
        for purpose, count in (("tuning", n), ("nulls", min(n, NULL_TASKS)), ("evaluation", n))
    )
    linear = law if isinstance(law, LinearRegression) else None
    return Splits((Fold(tuning, evaluation),), nulls, evaluation, linear)


@dataclass(frozen=True)
class TaskFile:
    """A user's tasks on disk. Its digest makes a file that changed another one."""

    path: str
    sha256: str
    limit: int | None
    d_in: int
    d_out: int


def task_file(path: str, limit: int | None, subject: Regressor) -> TaskFile:
    """The file as it is now, for a model of these widths."""
    return TaskFile(path, file_sha256(path), limit, subject.d_in, subject.d_out)


def file_splits(file: TaskFile) -> Splits:
    """A user's tasks, all of them evaluated."""
    tasks = load_tasks(file.path, file.limit, file.d_out)
    width, expected = tasks.inputs.shape[2], file.d_in + file.d_out
    if width != expected:
        raise TaskError(
            f"{file.path}: tokens are {width} wide, but the model takes {expected}"
            f" (d_in = {file.d_in} and d_out = {file.d_out})"
        )
    return Splits(halves(tasks), tasks[:NULL_TASKS], tasks, None)
