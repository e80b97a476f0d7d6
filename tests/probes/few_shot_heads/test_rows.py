"""Rows of prompts, and labels that carry no rule."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
import torch
from mesascope.data.errors import TaskError
from mesascope.data.few_shot.examples import Example
from mesascope.data.few_shot.tasks import FewShotTask
from mesascope.probes.few_shot.prompts import Prompts, prompts_of
from mesascope.probes.few_shot_heads.rows import Rows, without_rule

from .subjects import subject_of, tasks_of


def prompts(name: str, lengths: tuple[int, ...], labels: tuple[int, ...], right: tuple[int, ...]) -> Prompts:
    sent = tuple(tuple(range(length)) for length in lengths)
    return Prompts(name, (), (), tuple((0, n) for n in range(len(lengths))), sent, (1,) * len(lengths), labels, right)


MIXED = Rows.of([prompts("a", (3, 4, 3), (7, 8), (0, 1, 1)), prompts("b", (4, 3), (9, 5, 6), (2, 0))])


def test_rows_are_the_queries_task_after_task() -> None:
    assert MIXED.task.tolist() == [0, 0, 0, 1, 1]
    assert MIXED.right.tolist() == [0, 1, 1, 2, 0]
    assert [len(prompt) for prompt in MIXED.prompts] == [3, 4, 3, 4, 3]
    alone = Rows.of([prompts("a", (3, 4), (7, 8), (0, 1))], zero_shot=True)
    assert alone.prompts == ((0, 0), (0, 1))


@pytest.mark.parametrize("size", [1, 2, 5])
def test_batches_hold_every_row_once_and_one_length_each(size: int) -> None:
    batches = MIXED.batches(size)
    assert sorted(int(row) for batch in batches for row in batch) == [0, 1, 2, 3, 4]
    assert all(len(batch) <= size for batch in batches)
    for batch in batches:
        assert MIXED.tokens(batch).shape[0] == len(batch)


def test_answers_are_judged_by_the_labels_of_their_own_task() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(5, 10))
    rows = np.array([4, 1, 3])
    found = MIXED.judged(rows, torch.from_numpy(logits[rows]))
    for place, row in enumerate(rows):
        labels = MIXED.labels[MIXED.task[row]]
        p = np.exp(logits[row]) / np.exp(logits[row]).sum()
        right = labels[MIXED.right[row]]
        assert found.probability[place] == pytest.approx(p[right], rel=1e-12)
        assert found.accuracy[place] == float(max(labels, key=lambda label: p[label]) == right)


def test_tasks_count_alike_whatever_their_number_of_queries() -> None:
    values = np.array([1.0, 2.0, 6.0, 10.0, 20.0])
    np.testing.assert_allclose(MIXED.by_task(values), [3.0, 15.0])


def test_labels_of_classes_disagree_in_each_class() -> None:
    for task in tasks_of(n=4, k=4, queries=1):
        moved = without_rule(task, seed=3)
        told = {demo.input: demo.output for demo in task.demos}
        for label in task.labels:
            kept = [demo.output == label for demo in moved.demos if told[demo.input] == label]
            assert sum(kept) == len(kept) / 2
        assert Counter(demo.output for demo in moved.demos) == Counter(demo.output for demo in task.demos)


def test_of_pairs_every_demonstration_has_the_label_of_another() -> None:
    seen = set()
    for seed in range(4):
        for task in tasks_of("recall", n=3):
            moved = without_rule(task, seed)
            assert all(one.output != own.output for one, own in zip(moved.demos, task.demos, strict=True))
            assert Counter(demo.output for demo in moved.demos) == Counter(demo.output for demo in task.demos)
            assert [demo.input for demo in moved.demos] == [demo.input for demo in task.demos]
            assert moved.queries == task.queries
            seen.add(tuple(demo.output for demo in moved.demos))
    assert len(seen) > 6  # another seed, another permutation


def test_one_demonstration_of_each_of_two_classes_is_exchanged() -> None:
    demos = (Example((1,), (5,)), Example((2,), (6,)))
    task = FewShotTask("one", demos, (Example((3,), (5,)),), ((5,), (6,)), "one")
    assert [demo.output for demo in without_rule(task, 0).demos] == [(6,), (5,)]


def test_a_single_demonstration_is_refused() -> None:
    task = FewShotTask("one", (Example((1,), (5,)),), (Example((3,), (6,)),), ((5,), (6,)), "one", free_text=True)
    with pytest.raises(TaskError, match="k of at least 2"):
        without_rule(task, 0)


def test_only_labels_differ_between_the_prompts_of_a_task() -> None:
    subject, tasks = subject_of("gpt2"), tasks_of().tasks
    clean, moved = (Rows.of(prompts_of(subject, some)) for some in (tasks, [without_rule(t, 1) for t in tasks]))
    assert clean.right.tolist() == moved.right.tolist()
    assert clean.labels == moved.labels
    for one, other in zip(clean.prompts, moved.prompts, strict=True):
        assert len(one) == len(other)
        assert sorted(one) == sorted(other)
        assert one != other
