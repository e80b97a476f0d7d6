"""Halves of tasks, sizes of sets, and the heads that are chosen."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from mesascope.probes.few_shot_heads.choosing import (
    LEAST,
    called,
    halves,
    heads_at,
    outranks,
    same_layers,
    size_of_sets,
    strongest,
)


@given(st.lists(st.sampled_from("abcdef"), min_size=4, max_size=40), st.integers(0, 5))
def test_no_task_and_no_rule_is_in_both_halves(rules: list[str], seed: int) -> None:
    found = halves(rules, seed)
    assert sorted([*found.choosing, *found.judging]) == list(range(len(rules)))
    assert found.choosing
    assert found.judging
    if len(set(rules)) > 1:
        assert {rules[task] for task in found.choosing}.isdisjoint(rules[task] for task in found.judging)


def test_halves_are_equal_and_drawn_with_the_seed() -> None:
    alone = [str(task) for task in range(10)]
    assert len(halves(alone, 0).choosing) == 5
    assert len(halves(["same"] * 7, 0).choosing) == 4
    assert halves(alone, 0) == halves(alone, 0)
    assert len({halves(alone, seed).choosing for seed in range(20)}) > 10


@pytest.mark.parametrize(
    ("asked", "layers", "heads", "expected"),
    [(None, 1, 1, 1), (None, 2, 4, 1), (None, 3, 8, 4), (None, 12, 12, 10), (5, 12, 12, 5), (50, 2, 4, 8)],
)
def test_sets_are_at_most_ten_heads_and_a_sixth_of_all(
    asked: int | None, layers: int, heads: int, expected: int
) -> None:
    assert size_of_sets(asked, layers, heads) == expected


def test_the_strongest_are_those_with_the_largest_excess_above_0() -> None:
    excess = np.array([[0.1, -0.5, 0.3], [0.0, 0.2, -0.1]])
    assert strongest(excess, 2) == ((0, 2), (1, 1))
    assert strongest(excess, 6) == ((0, 0), (0, 2), (1, 1))
    assert strongest(-np.abs(excess), 3) == ()


def test_a_head_is_called_under_every_condition_at_once() -> None:
    ones = np.ones((1, 6))
    excess = np.array([[0.2, 0.2, 0.2, LEAST * 0.5 * 0.9, 0.2, 0.2]])
    p = np.array([[0.01, 0.01, 0.2, 0.01, 0.01, 0.01]])
    lows = [np.array([[0.1, -0.1, 0.1, 0.001, np.nan, 0.1]]), np.array([[0.1, 0.1, 0.1, 0.1, 0.1, -0.1]])]
    assert heads_at(called(excess, lows, p, total=0.5, level=0.05)) == ((0, 0),)
    assert heads_at(called(excess, lows, p, total=0.5, level=0.3)) == ((0, 0), (0, 2))
    assert heads_at(called(excess, lows, p, total=0.4, level=0.05)) == ((0, 0), (0, 3))
    assert heads_at(called(excess, lows[:1], p, total=0.5, level=0.05)) == ((0, 0), (0, 5))
    assert heads_at(called(ones, [ones], 0 * ones, total=-0.1, level=0.05)) == ()


def test_random_lists_have_as_many_heads_of_each_layer() -> None:
    rng = np.random.default_rng(0)
    drawn = {same_layers([(0, 1), (2, 0), (2, 3)], 4, rng) for _ in range(300)}
    assert all([layer for layer, _ in one] == [0, 2, 2] and len(set(one)) == 3 for one in drawn)
    assert len(drawn) == 4 * 6  # its own heads are among them


def test_the_rank_counts_pairs_as_a_double_loop_does() -> None:
    rng = np.random.default_rng(3)
    excess = rng.integers(0, 4, size=(6, 2, 3)).astype(float)
    group = [(0, 0), (1, 2)]
    inside = [(0, 0), (1, 2)]
    outside = [head for head in np.ndindex(2, 3) if head not in inside]
    for sample, found in zip(excess, outranks(excess, group), strict=True):
        wins = [(sample[a] > sample[b]) + (sample[a] == sample[b]) / 2 for a in inside for b in outside]
        assert found == pytest.approx(np.mean(wins))
    assert np.isnan(outranks(excess[0], list(np.ndindex(2, 3))))
    assert np.isnan(outranks(excess[0], []))
