"""What the seeds of a family share is computed once, and is gone with the tasks or with the probe."""

from __future__ import annotations

import gc
import weakref

import pytest
from mesascope.data import Batch, LinearRegression
from mesascope.probes.comparing.memo import LastResult, once_per_batch

calls: list[int] = []


@once_per_batch
def scaled_sum(batch: Batch, factor: int) -> float:
    calls.append(factor)
    return factor * float(batch.inputs.sum())


def test_a_batch_is_worked_on_once_for_each_argument() -> None:
    calls.clear()
    one, same_tasks = (LinearRegression(3, 2).sample(4, seed=0) for _ in range(2))
    assert scaled_sum(one, 2) == scaled_sum(one, 2) == scaled_sum(same_tasks, 2)
    assert scaled_sum(one, 3) == pytest.approx(1.5 * scaled_sum(one, 2))
    assert calls == [2, 2, 3]  # another batch is another one, whatever it holds


def test_a_batch_that_nobody_holds_is_gone() -> None:
    batch = LinearRegression(3, 2).sample(4, seed=0)
    scaled_sum(batch, 2)
    held = weakref.ref(batch)
    del batch
    gc.collect()
    assert held() is None


def test_only_the_last_result_is_kept() -> None:
    last, made = LastResult(), []

    def make(name: str) -> list[str]:
        made.append(name)
        return [name]

    assert last(make, "a") is last(make, "a")
    last(make, "b")
    last(make, "a")
    assert made == ["a", "b", "a"]
