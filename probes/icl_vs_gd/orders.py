"""How much answers depend on the order of demonstrations; one number a task.

A pair of orders has the mean over queries of the total variation of its answers, a task the mean over its pairs. With
demonstrations that agree, a model that learns in context perfectly has 0, as full-batch gradient descent has; so they
are also shown in conflict. What two orders have in common is the most that any two answers can be expected to have.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import combinations

import numpy as np
import torch
from torch import Tensor

from ...data.few_shot.tasks import FewShotTask
from ...data.recipe import named_seed
from ...models.differentiable import Differentiable
from ..few_shot.distributions import total_variation
from ..few_shot.prompts import Prompts
from .answers import Numbers, PerTask, Said, alikeness, said
from .asked import Asked, Labelled
from .fine_tuned import Setting
from .names import CLEAN, CONFLICTING, DISTANCE, IN_CONTEXT, Demonstrations
from .rules import sgd
from .runs import Runs
from .seen import Seen, seen

Orders = Mapping[Demonstrations, Sequence[Labelled]]
"""A task's demonstrations in several orders; the first clean one is the task's own. Without "conflicting" where each
label has one demonstration."""


def in_orders(
    tasks: Sequence[FewShotTask],
    n: int,
    seed: int,
    prompts: Callable[[Sequence[FewShotTask]], Sequence[Prompts]],
) -> list[Orders]:
    """Each task in n different orders, or in all that its demonstrations have. Those in conflict have the same ones.

    prompts:  how the model reads tasks
    """
    kinds: dict[Demonstrations, Sequence[FewShotTask]] = {CLEAN: tasks}
    if all(task.may_conflict for task in tasks):
        kinds[CONFLICTING] = [task.conflicting(seed) for task in tasks]
    read: dict[Demonstrations, list[list[Labelled]]] = {
        kind: [[Labelled.of(own) for own in prompts(_permuted(task, n, seed))] for task in some]
        for kind, some in kinds.items()
    }
    found: list[Orders] = [{kind: some[number] for kind, some in read.items()} for number in range(len(tasks))]
    return found


def of_orders(
    model: Differentiable,
    tasks: Sequence[Asked],
    orders: Sequence[Orders],
    runs: Runs,
    settings: Sequence[Setting],
    top: int | None,
) -> tuple[dict[str, Numbers], Numbers]:
    """Of the tasks of these runs.

    First, sensitivities by what answers (in context, and `sgd` if it is among the rules) and by CLEAN and CONFLICTING.
    Full-batch rules sort demonstrations before they begin. Second, how alike two orders of clean demonstrations are in
    context: total variation, and what their most probable tokens have in common. Both are empty where tasks have one
    order.
    """
    found: dict[str, Numbers] = defaultdict(dict)
    common: Numbers = {}
    for kind in orders[0]:
        by_order = [[own[kind][number] for own in orders] for number in range(min(len(own[kind]) for own in orders))]
        if len(by_order) < 2:
            continue
        for who, answers in _answers(model, runs, tasks, by_order, settings, first_known=kind == CLEAN):
            pairs = _by_pair(answers)
            found[who][kind] = _mean(total_variation, pairs)
            if (who, kind) == (IN_CONTEXT, CLEAN):
                common = {name: _mean(formula, pairs) for name, formula in alikeness(top).items()}
                common[DISTANCE] = found[who][kind]
    return dict(found), common


def _permuted(task: FewShotTask, n: int, seed: int) -> list[FewShotTask]:
    """The task as it is, then in other orders; all of them different."""
    found = {task.demos: task}
    throw = 0
    while len(found) < min(n, math.factorial(len(task.demos))):
        other = task.permuted(named_seed(seed, "orders", throw))
        found.setdefault(other.demos, other)
        throw += 1
    return list(found.values())


def _answers(
    model: Differentiable,
    runs: Runs,
    tasks: Sequence[Asked],
    by_order: Sequence[Sequence[Labelled]],
    settings: Sequence[Setting],
    first_known: bool,
) -> Iterator[tuple[str, list[Sequence[Seen]]]]:
    """What answers, with its answers by order and task.

    first_known:  the first order is that of the runs
    """
    own = [task.own for task in tasks]
    begun = 1 if first_known else 0
    known = [runs.in_context["true"]][:begun]
    yield IN_CONTEXT, [*known, *(seen(model, [one.in_context for one in some], own) for some in by_order[begun:])]
    zero_shot = [task.zero_shot for task in tasks]
    for setting in settings:
        if setting.rule == "sgd":
            known = [runs.fine_tuned["sgd"]["tuned", "true"]][:begun]
            yield "sgd", [*known, *(_learned(model, some, setting, zero_shot, own) for some in by_order[begun:])]


def _learned(
    model: Differentiable,
    demos: Sequence[Labelled],
    setting: Setting,
    zero_shot: Sequence[Sequence[tuple[int, ...]]],
    own: Sequence[Sequence[int]],
) -> list[Seen]:
    learned = sgd(model, [one.demos for one in demos], setting.tuned.rate, setting.tuned.steps)
    return seen(model, zero_shot, own, [one.parameters for one in learned])


def _by_pair(answers: Sequence[Sequence[Seen]]) -> list[list[tuple[Said, Said]]]:
    """Of each task, its pairs of orders."""
    by_task = zip(*([said(one) for one in some] for some in answers), strict=True)
    return [list(combinations(orders, 2)) for orders in by_task]


def _mean(formula: Callable[[Said, Said], Tensor], pairs: Sequence[Sequence[tuple[Said, Said]]]) -> PerTask:
    """Over pairs and queries."""
    return np.array([float(torch.stack([formula(*pair) for pair in some]).mean()) for some in pairs])
