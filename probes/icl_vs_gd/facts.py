"""What the tasks and the model are like, as far as a claim must say so: it reads measures, and nothing else.

The facts stand in the message of the measure `chance`, which belongs to the tasks alone.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch

from ...data.few_shot.tasks import FewShotTask
from ...models.language_model import LanguageModel
from ..measure import Measure
from ..statistics.sample_measures import PerTask, task_measures
from .names import CHANCE

FREE_TEXT = "outputs are free text, judged by their first token"
SHARED = "draws of one task of a file share examples"
ONE_TASK = "the file holds one task"
GENERATED = "tasks are generated"
RECALL = "queries repeat demonstrations"
LEARNED_POSITIONS = "positions are learned"
HALF = "weights are in half precision"
EVERY_PARAMETER = "all parameters are trained"
FACTS = (FREE_TEXT, SHARED, ONE_TASK, GENERATED, RECALL, LEARNED_POSITIONS, HALF, EVERY_PARAMETER)


def facts_of(
    subject: LanguageModel, tasks: Sequence[FewShotTask], from_file: bool, every_parameter: bool = False
) -> tuple[str, ...]:
    """Those that hold.

    from_file:        the examples are a user's
    every_parameter:  gradient descent changes more than W_K and W_V
    """
    rules = {task.rule for task in tasks}
    holds = {
        FREE_TEXT: any(task.free_text for task in tasks),
        SHARED: from_file and len(rules) < len(tasks),
        ONE_TASK: from_file and len(rules) == 1,
        GENERATED: not from_file,
        RECALL: any(task.recall for task in tasks),
        LEARNED_POSITIONS: subject.shape.positions == "learned",
        HALF: subject.dtype in (torch.float16, torch.bfloat16),
        EVERY_PARAMETER: every_parameter,
    }
    return tuple(fact for fact in FACTS if holds[fact])


def chance_measure(n_labels: Sequence[int], facts: Sequence[str], seed: int) -> dict[str, Measure]:
    """The accuracy of a guess among a task's labels.

    n_labels:  of each task
    """
    guessed = PerTask(1 / np.array(n_labels, np.float64), "share", no_nulls="it is a null", message="; ".join(facts))
    return task_measures({CHANCE: guessed}, seed)


def told(measures: Mapping[str, Measure]) -> frozenset[str]:
    """The facts that the measures hold."""
    chance = measures.get(CHANCE)
    return frozenset() if chance is None else frozenset(chance.message.split("; ")) & frozenset(FACTS)
