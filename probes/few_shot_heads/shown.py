"""The tasks by halves, as the model reads them: with labels, without any rule, and without demonstrations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from ...data.few_shot.tasks import FewShotTask
from ...data.recipe import named_seed
from ..few_shot.prompts import Prompts
from .choosing import Halves, halves
from .names import IN_CONTEXT, SHUFFLED, ZERO_SHOT, Way
from .rows import Rows, without_rule

Reader = Callable[[Sequence[FewShotTask]], list[Prompts]]
"""How a model reads tasks."""


@dataclass(frozen=True, eq=False)
class Half:
    """Some tasks.

    ways:     their prompts
    another:  with labels shuffled another time
    classes:  of each task, whether its labels are classes
    """

    ways: Mapping[Way, Rows]
    another: Rows
    classes: tuple[bool, ...]

    @classmethod
    def of(cls, tasks: Sequence[FewShotTask], read: Reader, seed: int) -> Half:
        clean = read(tasks)
        first, second = ([without_rule(task, named_seed(seed, "labels", n)) for task in tasks] for n in (0, 1))
        ways: dict[Way, Rows] = {ZERO_SHOT: Rows.of(clean, zero_shot=True), IN_CONTEXT: Rows.of(clean)}
        ways[SHUFFLED] = Rows.of(read(first))
        return cls(ways, Rows.of(read(second)), tuple(not (task.free_text or task.recall) for task in tasks))


@dataclass(frozen=True, eq=False)
class Shown:
    """All tasks."""

    halves: Halves
    choosing: Half
    judging: Half

    @classmethod
    def of(cls, tasks: Sequence[FewShotTask], read: Reader, seed: int) -> Shown:
        split = halves([task.rule for task in tasks], seed)
        parts = ([tasks[place] for place in places] for places in (split.choosing, split.judging))
        return cls(split, *(Half.of(part, read, seed) for part in parts))
