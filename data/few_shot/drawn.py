"""Few-shot tasks drawn from the examples of a file, as many demonstrations of each class."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from itertools import islice

import numpy as np

from ..errors import TaskError
from ..recipe import named_seed
from .examples import Example, Examples, Text
from .tasks import FewShotTask, FewShotTasks

MOST_CLASSES = 64
"""A task with more different outputs is free text."""


def draw_tasks(examples: Examples, n: int, k: int, queries: int, seed: int) -> FewShotTasks:
    """`n` tasks, in turn of each task that the file names; a larger `n` only adds tasks.

    k:        demonstrations of each class; of free text, in all, with different outputs
    queries:  of each class, or as many as every class has left; of free text, in all

    Raises TaskError for an input that stands twice, for one class, and for classes of fewer than k + 1 examples.
    """
    pools: dict[str, list[Example]] = defaultdict(list)
    for example in examples.examples:
        pools[example.task or examples.name].append(example)
    classes = {rule: _classes(rule, pool, k) for rule, pool in pools.items()}
    order = np.random.default_rng(named_seed(seed, "few-shot rules")).permutation(len(pools))
    rules = [list(pools)[order[number % len(order)]] for number in range(n)]
    tasks = [_drawn(rule, classes[rule], number, k, queries, seed) for number, rule in enumerate(rules)]
    settings = {"file": examples.name, "examples_sha256": examples.sha256, "k": k, "queries": queries}
    return FewShotTasks.of(tasks, "few-shot file", settings | {"rules": len(pools)}, seed)


def _classes(rule: str, pool: Sequence[Example], k: int) -> dict[Text, list[Example]]:
    """The examples of each output, in the order in which outputs first occur."""
    seen: dict[Text, int] = {}
    found: dict[Text, list[Example]] = defaultdict(list)
    for number, example in enumerate(pool, 1):
        if (before := seen.setdefault(example.input, number)) != number:
            raise TaskError(
                f"{rule}: examples {before} and {number} have the same input, {example.input!r:.60}; expected each"
                " once, so that no query is a demonstration; leave one out"
            )
        found[example.output].append(example)
    _check_classes(rule, found, k)
    return found


def _check_classes(rule: str, classes: dict[Text, list[Example]], k: int) -> None:
    if len(classes) < 2:
        raise TaskError(f"{rule}: every output is {next(iter(classes))!r:.60}; expected at least two classes")
    if len(classes) > MOST_CLASSES:
        if k >= len(classes):
            raise TaskError(f"{rule}: k = {k} demonstrations; expected fewer than its {len(classes)} different outputs")
        return
    label, least = min(classes.items(), key=lambda item: len(item[1]))
    if len(least) < k + 1:
        fewer = f"give k = {len(least) - 1}, or " if len(least) > 1 else ""
        raise TaskError(
            f"{rule}: class {label!r:.60} has {len(least)} example{'s' * (len(least) > 1)}; expected k + 1 = {k + 1} in"
            f" each of {len(classes)} classes, {k} demonstrations and a query; {fewer}leave the class out, or give more"
            f" examples (more than {MOST_CLASSES} different outputs are free text)"
        )


def _drawn(rule: str, classes: dict[Text, list[Example]], number: int, k: int, queries: int, seed: int) -> FewShotTask:
    rng = np.random.default_rng(named_seed(seed, "few-shot tasks", rule, number))
    free_text = len(classes) > MOST_CLASSES
    if free_text:
        demos, asked = _of_free_text(rng, [example for one in classes.values() for example in one], k, queries)
        labels = dict.fromkeys(example.output for example in (*demos, *asked))
    else:
        share = min(queries, min(map(len, classes.values())) - k)
        taken = [[one[place] for place in rng.permutation(len(one))[: k + share]] for one in classes.values()]
        demos = [example for one in taken for example in one[:k]]
        asked = [example for one in taken for example in one[k:]]
        labels = classes
    in_order = tuple(demos[place] for place in rng.permutation(len(demos)))
    return FewShotTask(f"{rule}, draw {number}", in_order, tuple(asked), tuple(labels), rule, free_text)


def _of_free_text(
    rng: np.random.Generator, pool: Sequence[Example], k: int, queries: int
) -> tuple[list[Example], list[Example]]:
    """Demonstrations with different outputs, and queries, in a random order of all."""
    mixed = rng.permutation(len(pool))
    demos: dict[Text, int] = {}
    for place in mixed:
        demos.setdefault(pool[place].output, place)
        if len(demos) == k:
            break
    shown = set(demos.values())
    asked = islice((place for place in mixed if place not in shown), queries)
    return [pool[place] for place in demos.values()], [pool[place] for place in asked]
