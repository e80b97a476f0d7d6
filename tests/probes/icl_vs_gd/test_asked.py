"""Tasks as tokens: halves of what shares a label, and what prompts hold."""

from __future__ import annotations

from collections import Counter

import pytest
from mesascope.probes.few_shot.prompts import Prompts
from mesascope.probes.icl_vs_gd.asked import Asked, halves
from mesascope.probes.icl_vs_gd.rules import Demo


@pytest.mark.parametrize(
    "labels", [[1, 1, 2, 2], [5, 7, 5, 7, 7, 5, 5, 7], [3, 1, 2, 4], [2, 1], [9, 9, 9, 1, 1, 1, 4]]
)
def test_halves_share_every_label(labels: list[int]) -> None:
    found = halves(labels)
    assert sorted(found[0] + found[1]) == list(range(len(labels)))
    assert abs(len(found[0]) - len(found[1])) <= 1
    counts = [Counter(labels[n] for n in half) for half in found]
    assert all(abs(counts[0][label] - counts[1][label]) <= 1 for label in labels)


def test_one_item_has_one_half() -> None:
    assert halves([4]) == ([0], [])


def test_tasks_are_what_prompts_hold() -> None:
    def prompts(answers: tuple[int, ...], right: tuple[int, ...] = (1,)) -> Prompts:
        return Prompts(
            "a task", ((0, 1), (0, 2, 3)), answers, ((0, 4, 5),), ((0, 1, 9, 2, 3, 8, 4, 5),), (2,), (9, 8), right
        )

    given = {"true": prompts((9, 8)), "swapped": prompts((8, 9))}
    task = Asked.of(given, {"true": prompts((8, 8))})  # type: ignore[arg-type]
    assert task.queries == (Demo((0, 4, 5), 8),)
    assert task.zero_shot == ((0, 4, 5),)
    assert task.own == (2,)
    assert task.labels == (9, 8)
    assert task.given["true"].demos == (Demo((0, 1), 9), Demo((0, 2, 3), 8))
    assert task.given["swapped"].demos == (Demo((0, 1), 8), Demo((0, 2, 3), 9))
    assert task.given["true"].in_context == ((0, 1, 9, 2, 3, 8, 4, 5),)
    assert task.other == {"true": (Demo((0, 1), 8), Demo((0, 2, 3), 8))}
