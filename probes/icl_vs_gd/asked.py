"""A task as a model reads it: tokens alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..few_shot.prompts import Prompts
from .names import Labels
from .rules import Demo

Prompt = tuple[int, ...]


@dataclass(frozen=True)
class Labelled:
    """A task's demonstrations with some labels.

    demos:       each alone
    in_context:  the prompt of each query, with all demonstrations before it
    """

    demos: tuple[Demo, ...]
    in_context: tuple[Prompt, ...]

    @classmethod
    def of(cls, prompts: Prompts) -> Labelled:
        return cls(_demos(prompts), prompts.in_context)


@dataclass(frozen=True)
class Asked:
    """A task.

    queries:  the prompt of each without demonstrations, and its right label
    own:      how many tokens at the end of each prompt are the query's own, with demonstrations and without
    labels:   all labels of the task
    given:    its demonstrations, by the labels that they have
    other:    another task's demonstrations, by their labels; empty where there is no other task
    """

    queries: tuple[Demo, ...]
    own: tuple[int, ...]
    labels: tuple[int, ...]
    given: Mapping[Labels, Labelled]
    other: Mapping[Labels, tuple[Demo, ...]]

    @property
    def zero_shot(self) -> tuple[Prompt, ...]:
        return tuple(query.prompt for query in self.queries)

    @classmethod
    def of(cls, prompts: Mapping[Labels, Prompts], other: Mapping[Labels, Prompts]) -> Asked:
        """Of the prompts of one task, by the labels of its demonstrations, and of those of another task."""
        true = prompts["true"]
        asked = zip(true.zero_shot, true.right, strict=True)
        queries = tuple(Demo(prompt, true.labels[place]) for prompt, place in asked)
        given: dict[Labels, Labelled] = {labels: Labelled.of(some) for labels, some in prompts.items()}
        return cls(queries, true.own, true.labels, given, {labels: _demos(some) for labels, some in other.items()})


def _demos(prompts: Prompts) -> tuple[Demo, ...]:
    return tuple(Demo(prompt, label) for prompt, label in zip(prompts.alone, prompts.answers, strict=True))


def halves(labels: Sequence[int]) -> tuple[list[int], list[int]]:
    """The places of two halves: every second one of those that share a label. Of labels that come an odd number of
    times the one left over goes to either half in turn.
    """
    often = Counter(labels)
    turn = {label: number % 2 for number, label in enumerate(x for x in sorted(often) if often[x] % 2)}
    seen: Counter[int] = Counter()
    found: tuple[list[int], list[int]] = ([], [])
    for place, label in enumerate(labels):
        found[(seen[label] + turn.get(label, 0)) % 2].append(place)
        seen[label] += 1
    return found
