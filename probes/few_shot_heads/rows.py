"""Prompts of several tasks as rows, one a query; and the prompts whose labels carry no rule.

Todd et al. 2024 (arXiv 2310.15213) permute all labels of a prompt at random. Where few classes have several
demonstrations each, such a permutation often leaves most labels as they were, so the prompt still carries the rule.
Here half of the labels of each class are moved on to the next class: demonstrations of a class disagree, and no label
goes with it. Where each label has one demonstration, every demonstration gets the label of another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Float, Int
from torch import Tensor

from ...data.errors import TaskError
from ...data.few_shot.tasks import FewShotTask
from ...data.recipe import named_seed
from ..few_shot.behaviour import accuracy_among
from ..few_shot.prompts import Prompts, Tokens


def without_rule(task: FewShotTask, seed: int) -> FewShotTask:
    """The task with labels that carry no rule. With one demonstration of each of two classes there is no such prompt:
    their labels are exchanged, which is another rule.

    TaskError for a single demonstration, whose label cannot be another's.
    """
    if len(task.demos) < 2:
        raise TaskError(f"{task.name}: one demonstration, so labels cannot be shuffled; give k of at least 2")
    if task.may_conflict:
        return task.shuffled(seed)
    order = np.random.default_rng(named_seed(seed, "labels moved", task.name)).permutation(len(task.demos))
    demos = list(task.demos)
    for place, giver in zip(order, np.roll(order, 1), strict=True):
        demos[place] = replace(demos[place], output=task.demos[giver].output)
    return replace(task, demos=tuple(demos))


@dataclass(frozen=True)
class Answers:
    """How a model answers each row: the probability of the right label, and whether it is the first among labels."""

    probability: Float[np.ndarray, " row"]
    accuracy: Float[np.ndarray, " row"]


@dataclass(frozen=True, eq=False)
class Rows:
    """Prompts, one a query, task after task.

    task:    the number of each row's task, from 0
    labels:  the first token of each label, of each task
    right:   the place of each row's label among them
    """

    prompts: tuple[Tokens, ...]
    task: Int[np.ndarray, " row"]
    labels: tuple[Tokens, ...]
    right: Int[np.ndarray, " row"]

    @classmethod
    def of(cls, tasks: Sequence[Prompts], zero_shot: bool = False) -> Rows:
        """With all demonstrations before each query, or without any."""
        sent = [one.zero_shot if zero_shot else one.in_context for one in tasks]
        task = np.repeat(np.arange(len(tasks)), [len(queries) for queries in sent])
        right = np.array([place for one in tasks for place in one.right])
        return cls(tuple(prompt for queries in sent for prompt in queries), task, tuple(t.labels for t in tasks), right)

    def __len__(self) -> int:
        return len(self.prompts)

    def batches(self, size: int) -> list[Int[np.ndarray, " some"]]:
        """Rows that are read together: of one length, at most so many."""
        lengths = np.array([len(prompt) for prompt in self.prompts])
        alike = [np.flatnonzero(lengths == length) for length in np.unique(lengths)]
        return [rows[first : first + size] for rows in alike for first in range(0, len(rows), size)]

    def tokens(self, rows: Int[np.ndarray, " some"]) -> Int[Tensor, "some pos"]:
        """Of rows of one length."""
        return torch.tensor([self.prompts[row] for row in rows])

    def judged(self, rows: Int[np.ndarray, " some"], logits: Float[Tensor, "some d_vocab"]) -> Answers:
        """The answers of some rows, from the logits after their last tokens."""
        p = logits.double().softmax(dim=-1).cpu()
        probability, accuracy = np.empty(len(rows)), np.empty(len(rows))
        for task in np.unique(self.task[rows]):
            at = np.flatnonzero(self.task[rows] == task)
            labels, right = torch.tensor(self.labels[task]), torch.from_numpy(self.right[rows[at]])
            accuracy[at] = accuracy_among(p[at], labels, right)
            probability[at] = p[at, labels[right]]
        return Answers(probability, accuracy)

    def by_task(self, values: Float[np.ndarray, "row *axes"]) -> Float[np.ndarray, "task *axes"]:
        """The mean over the queries of each task."""
        return np.stack([values[self.task == task].mean(axis=0) for task in range(len(self.labels))])
