"""A user's finite set of tasks, from a file."""

from __future__ import annotations

from pathlib import Path

import torch

from ...data.errors import TaskError
from ...data.task_arrays import read_arrays
from ...models.subject import Regressor
from ..algorithms.task_sets import TaskSet
from .names import TASK_SET
from .standing import BY_TASK_SET


def task_set_family(path: str, subject: Regressor) -> TaskSet:
    """Bayes' rule over the tasks of a file, for a model of these widths. TaskError for a file of others."""
    (weights,) = read_arrays(Path(path), "weights")
    expected = (subject.d_out, subject.d_in)
    shapes = (expected, expected[1:]) if subject.d_out == 1 else (expected,)
    if weights.shape[1:] not in shapes or not len(weights):
        raise TaskError(
            f"{Path(path).name}: weights have shape {list(weights.shape)};"
            f" expected [member, {expected[0]}, {expected[1]}]"
            f"{f' or [member, {expected[1]}]' * (subject.d_out == 1)}, one for each task that there can be"
        )
    held = torch.from_numpy(weights.reshape(-1, *expected))
    return TaskSet(TASK_SET, "Bayes over the task set", BY_TASK_SET, tasks=held)
