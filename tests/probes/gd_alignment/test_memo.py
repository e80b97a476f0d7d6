"""What the seeds of a family share is computed once, and is gone with the tasks or with the probe."""

from __future__ import annotations

import gc
import weakref

import pytest
from mesascope.data import Batch, LinearRegression
from mesascope.models import from_transformer, gd_transformer
from mesascope.probes import GDAlignment
from mesascope.probes.gd_alignment import constructed_fits, probe
from mesascope.probes.gd_alignment.constructed import ConstructedShape
from mesascope.probes.gd_alignment.memo import LastResult, once_per_batch

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
    constructed_fits.fit_learning_rate(batch, ConstructedShape(3, 2, 1, 1), 8)
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


def test_the_seeds_of_a_family_share_their_tasks_and_fits(monkeypatch: pytest.MonkeyPatch, few_shifts: None) -> None:
    drawn: list[weakref.ref[Batch]] = []
    fits: list[int] = []
    original, fit = probe.generated_splits, constructed_fits.fit_log_scale

    def watched(law: LinearRegression, n: int, seed: int) -> object:
        splits = original(law, n, seed)
        drawn.append(weakref.ref(splits.evaluation))
        return splits

    monkeypatch.setattr(probe, "generated_splits", watched)
    monkeypatch.setattr(constructed_fits, "fit_log_scale", lambda *given: fits.append(1) or fit(*given))
    measured = GDAlignment(limit=12)
    for rate in (3.0, 4.0):
        measured.measure(from_transformer(gd_transformer(4, rate, 3)), 0, 8)
    assert (len(drawn), len(fits)) == (1, 1)
    measured.measure(from_transformer(gd_transformer(4, 3.0, 3)), 1, 8)
    gc.collect()
    assert [held() is None for held in drawn] == [True, False]  # those of another seed replaced them
    del measured
    gc.collect()
    assert drawn[1]() is None
