"""All passes of some tasks: in context, without demonstrations, and fine-tuned in every way."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from ...models.differentiable import HELD, Differentiable
from .activation_matching import matched
from .asked import Asked
from .fine_tuned import PAIR, Setting, Stepped, fine_tuned
from .names import LABELS, Labels, Rule, Way
from .seen import Seen, seen


@dataclass(frozen=True, eq=False)
class Runs:
    """Of consecutive tasks.

    first:       the number of the first of them among all
    in_context:  by the labels of demonstrations
    fine_tuned:  by rule, way, and labels of demonstrations
    matched:     by the labels of demonstrations, of parameters fitted to attention in context; empty where none are
    """

    first: int
    zero_shot: Sequence[Seen]
    in_context: Mapping[Labels, Sequence[Seen]]
    fine_tuned: Mapping[Rule, Mapping[tuple[Way, Labels], Sequence[Seen]]]
    matched: Mapping[Labels, Sequence[Seen]]

    def __len__(self) -> int:
        return len(self.zero_shot)


def runs(
    model: Differentiable,
    tasks: Sequence[Asked],
    settings: Sequence[Setting],
    seed: int,
    matching: Stepped | None = None,
) -> Iterator[Runs]:
    """Of as many tasks at a time as memory holds; how many, changes no number."""
    for first, some in at_once(model, tasks):
        yield runs_of(model, some, settings, seed, matching, first)


WAYS = 36
"""In which a task's queries are answered, about, and their answers kept until its numbers are formed: by two rules."""


def at_once(model: Differentiable, tasks: Sequence[Asked]) -> Iterator[tuple[int, Sequence[Asked]]]:
    """Tasks that memory holds together, with the number of the first of them."""
    longest = max(sum(len(demo.prompt) for demo in task.given["true"].demos) for task in tasks)
    queries, shape = max(len(task.queries) for task in tasks), model.subject.shape
    seen = WAYS * queries * (shape.d_vocab + shape.n_layers * shape.d_model)
    size = max(1, min(model.at_once(longest), HELD // seen))
    for first in range(0, len(tasks), size):
        yield first, tasks[first : first + size]


def runs_of(
    model: Differentiable,
    tasks: Sequence[Asked],
    settings: Sequence[Setting],
    seed: int,
    matching: Stepped | None = None,
    first: int = 0,
) -> Runs:
    """Of these tasks together."""
    own, prompts = [task.own for task in tasks], [task.zero_shot for task in tasks]
    zero_shot = seen(model, prompts, own)
    in_context: dict[Labels, Sequence[Seen]] = {
        labels: seen(model, [task.given[labels].in_context for task in tasks], own) for labels in LABELS
    }
    by_rule: dict[Rule, Mapping[tuple[Way, Labels], Sequence[Seen]]] = {
        setting.rule: {
            (way, labels): seen(model, prompts, own, parameters)
            for way, labels, parameters in fine_tuned(model, tasks, setting, seed, first)
        }
        for setting in settings
    }
    fitted: dict[Labels, Sequence[Seen]] = (
        {}
        if matching is None
        else {labels: matched(model, tasks, in_context[labels], zero_shot, matching) for labels in PAIR}
    )
    return Runs(first, zero_shot, in_context, by_rule, fitted)
