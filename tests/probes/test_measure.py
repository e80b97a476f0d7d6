"""Measures know what they are, and refuse what they cannot be; means over tasks become measures."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mesascope.probes import Measure
from mesascope.probes.measure import along, missing
from mesascope.probes.statistics.sample_measures import PerTask, task_measures

NAN = np.array(np.nan)


def measure(values: Any = 1.0, **changed: Any) -> Measure:
    values = np.asarray(values)
    settings: dict[str, Any] = {"interval": (values, values), "replicate": "task", "n": 3, "no_nulls": "none exist"}
    return Measure(values, "label", **(settings | changed))


def test_values_are_kept_in_float64() -> None:
    kept = measure(np.float32([0.5, 1.0]), axes=("layer",), nulls={"untrained": np.float32([[0.0, 1.0]])})
    assert {a.dtype for a in (kept.values, *kept.interval, kept.nulls["untrained"])} == {np.dtype("f8")}
    assert kept.labels("layer") == (0, 1)
    with pytest.raises(ValueError, match="layer"):
        _ = kept.estimate
    assert measure(2).estimate == 2.0


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"values": [1.0, 2.0]}, "axes"),
        ({"axes": ("layer",)}, "axes"),
        ({"values": [1.0, 2.0], "axes": ("t",), "coords": {"t": (0,)}}, "1 labels"),
        ({"values": [1.0, 2.0], "axes": ("t",), "coords": {"other": (0, 1)}}, "other"),
        ({"interval": (np.zeros(2), np.zeros(2))}, "interval"),
        ({"nulls": {"untrained": np.zeros((4, 1))}}, "untrained"),
        ({"points": np.zeros((4, 1))}, "points"),
        ({"no_nulls": ""}, "no_nulls"),
        ({"values": np.nan}, "message"),
        ({"values": [1.0, np.nan], "axes": ("t",)}, "message"),
        ({"status": "undefined"}, "message"),
    ],
)
def test_what_a_measure_refuses(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        measure(**changed)


def test_a_missing_measure_says_why() -> None:
    absent = missing("cosine", "not applicable", "no weights")
    assert (absent.status, absent.message, absent.n, absent.replicate) == ("not applicable", "no weights", 0, "none")
    assert np.isnan([absent.values, *absent.interval]).all()


def per_task(samples: Any, **changed: Any) -> PerTask:
    return PerTask(np.asarray(samples, dtype=float), "label", **({"no_nulls": "none exist"} | changed))


def test_means_over_tasks_are_paired(rng: np.random.Generator) -> None:
    """A difference's interval comes from the same draws as those of its parts, in one dimension or many."""
    a, b = rng.normal(size=40), rng.normal(size=40)
    curve = np.stack([a, b], axis=1)
    found = task_measures(
        {"a": per_task(a), "other n": per_task(rng.normal(size=13)), "both": per_task(curve, axes=("t",))}, seed=2
    )
    alone = task_measures({"a": per_task(a)}, seed=2)
    assert found["a"].values == alone["a"].values == pytest.approx(a.mean())
    assert found["both"].values == pytest.approx(curve.mean(axis=0))
    assert found["both"].interval[0][0] == pytest.approx(found["a"].interval[0], rel=1e-12)
    assert found["a"].interval[0] == pytest.approx(alone["a"].interval[0], rel=1e-12)
    assert (found["a"].n, found["a"].replicate, found["other n"].n) == (40, "task", 13)


def test_a_mean_without_a_finite_value_is_undefined() -> None:
    for bad in (np.inf, np.nan):
        found = task_measures({"x": per_task([1.0, bad]), "y": per_task([1.0, 2.0])}, seed=0)
        assert (found["x"].status, found["y"].status) == ("undefined", "ok")
        assert found["x"].message == "no task has a finite value"
    assert task_measures({"x": per_task([np.inf], message="so it is")}, 0)["x"].message == "so it is"


def test_where_a_curve_diverges_it_has_no_value() -> None:
    curve: dict[str, Any] = {"samples": [[1.0, np.inf], [2.0, 3.0]], "axes": ("t",), "message": "note"}
    found = task_measures({"x": per_task(**curve)}, seed=0)["x"]
    assert found.status == "ok"
    assert found.values[0] == 1.5
    assert np.isnan([found.values[1], found.interval[0][1], found.interval[1][1]]).all()
    assert found.message == "note; NaN where the value is infinite (the model diverges there)"
    assert task_measures({"x": per_task(**curve, no_number="no key there")}, 0)["x"].message == "note; no key there"
    assert np.isfinite([found.interval[0][0], found.interval[1][0]]).all()


def test_one_task_has_no_interval() -> None:
    found = task_measures({"x": per_task([4.0])}, seed=0)["x"]
    assert (found.estimate, found.n, found.message) == (4.0, 1, "one task has no interval")
    assert np.isnan(found.interval).all()


def test_single_numbers_are_stacked_and_given_back() -> None:
    parts = {"gd": measure(1.0), "ridge": measure(2.0)}
    stacked = along("candidate", parts)
    assert stacked.axes == ("candidate",)
    assert [stacked.sel(candidate=name).estimate for name in parts] == [1.0, 2.0]
