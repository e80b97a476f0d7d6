"""The seeds of a family share their tasks and all that is fitted on them."""

from __future__ import annotations

import gc
import weakref

import pytest
from mesascope.data import Batch, LinearRegression
from mesascope.models import from_transformer, gd_transformer
from mesascope.probes import GDAlignment
from mesascope.probes.gd_alignment import constructed_fits
from mesascope.probes.gd_alignment.constructed import ConstructedShape
from mesascope.probes.regression import probe


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


def test_a_fit_does_not_hold_its_tasks() -> None:
    batch = LinearRegression(3, 2).sample(4, seed=0)
    constructed_fits.fit_learning_rate(batch, ConstructedShape(3, 2, 1, 1), 8)
    held = weakref.ref(batch)
    del batch
    gc.collect()
    assert held() is None
