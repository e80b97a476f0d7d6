"""Ablated sets beside random ones."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from mesascope.probes.few_shot.prompts import prompts_of
from mesascope.probes.few_shot_heads.ablating import ablated, random_sets
from mesascope.probes.few_shot_heads.names import ANSWER, FUNCTION_VECTOR, GIVEN, IN_CONTEXT, PURPOSES, TOP_OWN, Group
from mesascope.probes.few_shot_heads.passes import Passes
from mesascope.probes.few_shot_heads.rows import Rows
from mesascope.probes.few_shot_heads.shown import Half

from .subjects import module_of, subject_of, tasks_of
from .test_passes import plain_logits, softmax

SETS: dict[Group, tuple[tuple[int, int], ...]] = {
    FUNCTION_VECTOR: ((0, 1), (1, 2)),
    ANSWER: (),
    TOP_OWN: ((0, 1), (1, 2)),
    GIVEN: ((1, 0), (1, 1), (1, 2), (1, 3)),
}


def test_random_sets_have_other_heads_of_the_same_layers() -> None:
    drawn = random_sets(((0, 1), (1, 2)), 4, 30, seed=0)
    assert len(drawn) == 30
    for one in drawn:
        assert [layer for layer, _ in one] == [0, 1]
        assert not {*one} & {(0, 1), (1, 2)}
    assert drawn == random_sets(((0, 1), (1, 2)), 4, 30, seed=0)
    assert drawn != random_sets(((0, 1), (1, 2)), 4, 30, seed=1)
    assert len(set(drawn)) == 9


def test_layers_without_other_heads_have_no_random_set() -> None:
    assert random_sets(SETS[GIVEN], 4, 5, seed=0) == ()


def plain_accuracy(module: Any, rows: Rows, *how: Any) -> np.ndarray:
    """By task, of its four queries."""
    found = np.zeros(len(rows.labels))
    for row, prompt in enumerate(rows.prompts):
        labels = list(rows.labels[rows.task[row]])
        found[rows.task[row]] += (plain_logits(module, prompt, *how)[labels].argmax() == rows.right[row]) / 4
    return found


def test_what_a_set_costs_is_what_a_hook_says() -> None:
    subject, module = subject_of("gpt2"), module_of("gpt2")
    half = Half.of(tasks_of(n=3).tasks, lambda some: prompts_of(subject, some), seed=0)
    passes, rows = Passes(subject, 4), half.ways[IN_CONTEXT]
    mean = torch.randn(2, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    found = ablated(passes, half, passes.read(rows), mean, SETS, 3, seed=0)
    assert list(found) == [FUNCTION_VECTOR, TOP_OWN, GIVEN]
    one = found[FUNCTION_VECTOR]
    for heads, drops in [(one.heads, one.probability), *zip(one.random, one.random_probability, strict=True)]:
        expected = np.zeros(3)
        for row, prompt in enumerate(rows.prompts):
            right = rows.labels[rows.task[row]][rows.right[row]]
            clean, without = (softmax(plain_logits(module, prompt, *how)) for how in ((), (heads, mean.numpy())))
            expected[rows.task[row]] += (clean[right] - without[right]) / 4
        np.testing.assert_allclose(drops, expected, atol=1e-9)
    without = plain_accuracy(module, rows, one.heads, mean.numpy())
    np.testing.assert_allclose(one.accuracy, plain_accuracy(module, rows) - without, atol=1e-12)


def test_equal_sets_are_sent_once() -> None:
    subject = subject_of("gpt2")
    half = Half.of(tasks_of(n=2).tasks, lambda some: prompts_of(subject, some), seed=0)
    passes, rows = Passes(subject, 64), half.ways[IN_CONTEXT]
    found = ablated(passes, half, passes.read(rows), torch.zeros(2, 4, 4, dtype=torch.float64), SETS, 2, seed=0)
    np.testing.assert_array_equal(found[FUNCTION_VECTOR].accuracy, found[TOP_OWN].accuracy)
    assert found[GIVEN].random == ()
    assert found[GIVEN].random_accuracy.shape == (0, 2)
    distinct = {SETS[FUNCTION_VECTOR], SETS[GIVEN], *found[FUNCTION_VECTOR].random}
    assert passes.spent[PURPOSES[2]] == len(rows) * len(distinct)
