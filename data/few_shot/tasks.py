"""Few-shot tasks: demonstrations to learn from, and queries that are none of them, drawn with a seed.

Of one task there are others with the same inputs at the same places and as many of each label: with labels swapped,
shuffled or in conflict. What differs between two of them is which label belongs to which input, and nothing else.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import astuple, dataclass, replace
from typing import Any

import numpy as np

from ..errors import TaskError
from ..recipe import Recipe, canonical_json, named_seed
from .examples import Example, Text


@dataclass(frozen=True)
class FewShotTask:
    """Demonstrations in their order, and queries.

    name:       what a report calls it
    labels:     the classes, in one order; of free text, the outputs of demonstrations and queries as they were drawn
    rule:       tasks of one rule have the same right output for the same input
    free_text:  outputs are no classes: each may occur once
    recall:     queries ask for demonstrations again
    """

    name: str
    demos: tuple[Example, ...]
    queries: tuple[Example, ...]
    labels: tuple[Text, ...]
    rule: str
    free_text: bool = False
    recall: bool = False

    def __post_init__(self) -> None:
        shown = {demo.input for demo in self.demos}
        if not self.recall and (both := next((query for query in self.queries if query.input in shown), None)):
            raise TaskError(
                f"{self.name}: the input {both.input!r:.60} is a demonstration and a query; expected different inputs"
            )

    @property
    def may_conflict(self) -> bool:
        """Whether classes have several demonstrations, so that they can disagree."""
        return not self.free_text and len({demo.output for demo in self.demos}) < len(self.demos)

    def swapped(self) -> FewShotTask:
        """Every label another one: moved on by one class. Where classes have unequal numbers of demonstrations, labels
        are permuted over demonstrations so that each changes.
        """
        return self._moved(range(len(self.demos)))

    def shuffled(self, seed: int) -> FewShotTask:
        """In each class half of the labels, at random, moved on. Of an odd number, one more or less by a throw for all
        classes. Where classes have one demonstration each, half of all.
        """
        rng = self._rng(seed, "shuffled")
        groups = self._groups()
        extra = int(rng.integers(2))
        chosen = [int(place) for group in groups for place in rng.permutation(group)[: (len(group) + extra) // 2]]
        if len(chosen) == 1:  # one label cannot change alone
            chosen = list(range(len(self.demos))) if extra else []
        return self._moved(chosen)

    def conflicting(self, seed: int) -> FewShotTask:
        """One label of each class, at random, moved on by one class: demonstrations of a class disagree.

        TaskError where each class has one demonstration.
        """
        if not self.may_conflict:
            raise TaskError(
                f"{self.name}: each label has one demonstration, so none can disagree; give k of at least 2"
            )
        rng = self._rng(seed, "conflicting")
        return self._moved([int(rng.choice(places)) for places in self._classes().values()])

    def permuted(self, seed: int) -> FewShotTask:
        """The same demonstrations in another order, or by chance in the same."""
        order = self._rng(seed, "permuted").permutation(len(self.demos))
        return replace(self, demos=tuple(self.demos[place] for place in order))

    @property
    def k(self) -> int:
        """What `fewer` leaves of this task: demonstrations of each class, all of free text, or half of all pairs."""
        if self.recall:
            return len(self.demos) // 2
        return len(self.demos) if self.free_text else max(map(len, self._classes().values()))

    def fewer(self, k: int) -> FewShotTask:
        """The same task with a smaller k: of each class the first demonstrations."""
        kept = sorted(place for places in self._classes().values() for place in places[:k])
        if self.recall or self.free_text:
            kept = list(range(2 * k if self.recall else k))
        return replace(self, demos=tuple(self.demos[place] for place in kept))

    def with_demos(self, other: FewShotTask) -> FewShotTask:
        """This task's queries after another task's demonstrations."""
        return replace(self, demos=other.demos)

    def _classes(self) -> dict[Text, list[int]]:
        """The places of each label's demonstrations, in the order of the labels."""
        found: dict[Text, list[int]] = {label: [] for label in self.labels}
        for place, demo in enumerate(self.demos):
            found.setdefault(demo.output, []).append(place)
        return {label: places for label, places in found.items() if places}

    def _groups(self) -> list[list[int]]:
        """Places of which a share is chosen: those of each class, or all of them together."""
        return list(self._classes().values()) if self.may_conflict else [list(range(len(self.demos)))]

    def _moved(self, chosen: Collection[int]) -> FewShotTask:
        """Labels permuted among the chosen demonstrations so that each changes; counts of labels stay.

        Sorted by class and moved on by the size of the largest class, each is another; of equal classes, the next.
        """
        outputs = [demo.output for demo in self.demos]
        by_class = [place for places in self._classes().values() for place in places if place in chosen]
        largest = max(Counter(outputs[place] for place in chosen).values(), default=0)
        if 2 * largest > len(by_class):
            raise TaskError(
                f"{self.name}: {largest} of {len(by_class)} demonstrations have one label, so no permutation changes"
                " every label; expected at most half"
            )
        demos = list(self.demos)
        for n, place in enumerate(by_class):
            demos[place] = replace(demos[place], output=outputs[by_class[(n + largest) % len(by_class)]])
        return replace(self, demos=tuple(demos))

    def _rng(self, seed: int, purpose: str) -> np.random.Generator:
        return np.random.default_rng(named_seed(seed, "few-shot", purpose, self.name))


@dataclass(frozen=True)
class FewShotTasks:
    """Tasks of one source, and the recipe that reproduces them."""

    tasks: tuple[FewShotTask, ...]
    recipe: Recipe

    def __len__(self) -> int:
        return len(self.tasks)

    def __iter__(self) -> Iterator[FewShotTask]:
        return iter(self.tasks)

    @classmethod
    def of(cls, tasks: Sequence[FewShotTask], family: str, settings: Mapping[str, Any], seed: int) -> FewShotTasks:
        """With the digest of all that the tasks say."""
        said = canonical_json([astuple(task) for task in tasks])
        digest = hashlib.sha256(said.encode()).hexdigest()
        return cls(tuple(tasks), Recipe(family, settings, seed, len(tasks), digest))


def others(tasks: Sequence[FewShotTask]) -> list[FewShotTask | None]:
    """For each task the next one of another rule whose demonstrations hold none of its queries; None where there is
    none: demonstrations of the same rule are no control.
    """
    return [_other(tasks, number) for number in range(len(tasks))]


def _other(tasks: Sequence[FewShotTask], number: int) -> FewShotTask | None:
    task = tasks[number]
    asked = {query.input for query in task.queries}
    later = (tasks[(number + step) % len(tasks)] for step in range(1, len(tasks)))
    return next(
        (one for one in later if one.rule != task.rule and asked.isdisjoint(demo.input for demo in one.demos)), None
    )
