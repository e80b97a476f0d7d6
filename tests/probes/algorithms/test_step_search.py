"""The search for a number of steps."""

from __future__ import annotations

import pytest
from mesascope.probes.algorithms.step_search import best_steps, search_steps


@pytest.mark.parametrize("least", [1, 2, 5, 11, 16, 37, 64])
def test_the_least_is_found_between_those_that_are_tried_first(least: int) -> None:
    found = search_steps((1, 4, 16, 64), lambda steps: float((steps - least) ** 2))
    assert best_steps(found) == least
    assert found[least] == 0
    assert len(found) <= 15


def test_each_is_tried_once_and_equals_go_to_the_fewest() -> None:
    tried: list[int] = []

    def distance(steps: int) -> float:
        tried.append(steps)
        return 1.0

    found = search_steps((2, 8), distance)
    assert best_steps(found) == 2
    assert sorted(tried) == sorted(set(tried)) == sorted(found)
    assert search_steps((3,), lambda _: float("inf")) == {3: float("inf")}
