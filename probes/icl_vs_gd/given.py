"""The tasks of a comparison, in every version of their labels, as a model reads them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ...data.few_shot.tasks import FewShotTask, FewShotTasks, others
from ...data.recipe import Recipe
from ..few_shot.prompts import Prompts
from .asked import Asked
from .fine_tuned import PAIR
from .names import Labels

Read = Callable[[Sequence[FewShotTask]], list[Prompts]]
"""Tasks as the model reads them."""


@dataclass(frozen=True)
class Given:
    """
    tasks:    those that are measured
    asked:    the same, as tokens
    tuning:   others, on which rates and numbers of steps are chosen; with their own labels alone
    recipes:  of both
    """

    tasks: tuple[FewShotTask, ...]
    asked: tuple[Asked, ...]
    tuning: tuple[Asked, ...]
    recipes: Mapping[str, Recipe]

    @classmethod
    def of(cls, drawn: FewShotTasks, n: int, read: Read, seed: int) -> Given:
        """Measured are the first n of the tasks drawn."""
        tasks, tuning = drawn.tasks[:n], drawn.tasks[n:]
        recipes = {"evaluation": _recipe(drawn, tasks, 0), "tuning": _recipe(drawn, tuning, n)}
        only_true = tuple(Asked.of({"true": prompts}, {}) for prompts in read(tuning))
        return cls(tasks, tuple(asked(tasks, read, seed)), only_true, recipes)


def asked(tasks: Sequence[FewShotTask], read: Read, seed: int) -> list[Asked]:
    """With the demonstrations of the next task of another rule beside their own; of none, where some task has none."""
    by_labels: dict[Labels, list[Prompts]] = {
        "true": read(tasks),
        "swapped": read([task.swapped() for task in tasks]),
        "shuffled": read([task.shuffled(seed) for task in tasks]),
    }
    places = {task.name: place for place, task in enumerate(tasks)}
    theirs = [None if other is None else places[other.name] for other in others(tasks)]
    of_others: list[dict[Labels, Prompts]] = [{} for _ in tasks]
    if (known := [place for place in theirs if place is not None]) and len(known) == len(tasks):
        of_others = [{labels: by_labels[labels][place] for labels in PAIR} for place in known]
    return [
        Asked.of({labels: some[place] for labels, some in by_labels.items()}, of_others[place])
        for place in range(len(tasks))
    ]


def _recipe(drawn: FewShotTasks, tasks: Sequence[FewShotTask], first: int) -> Recipe:
    whole = drawn.recipe
    assert whole.seed is not None
    return FewShotTasks.of(tasks, whole.family, {**whole.settings, "first": first}, whole.seed).recipe
