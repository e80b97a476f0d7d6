"""Means over replicates and curves over steps."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mesascope.analyses.runs.aggregation import along_steps, mean_over
from mesascope.probes.measure import Measure, missing
from scipy import stats


def made(values: Any, message: str = "", n_null: int = 2, **fields: Any) -> Measure:
    values = np.asarray(values, dtype=float)
    axes = ("layer", "head")[: values.ndim]
    nulls = {"null": np.arange(float(n_null))[(...,) + (None,) * values.ndim] + values}
    interval = np.asarray(values - 1), np.asarray(values + 1)
    return Measure(values, "u", interval, "task", 100, axes=axes, nulls=nulls, message=message, **fields)


def test_the_mean_over_seeds_with_its_t_interval() -> None:
    points = np.array([1.0, 2.0, 4.0])
    found = mean_over("seed", [made(point) for point in points])
    assert found.estimate == pytest.approx(points.mean())
    expected = stats.ttest_1samp(points, 0).confidence_interval(0.95)
    np.testing.assert_allclose(found.interval, (expected.low, expected.high))
    assert (found.replicate, found.n, found.message) == ("seed", 3, "")
    np.testing.assert_array_equal(found.points, points)
    np.testing.assert_array_equal(found.nulls["null"], [1, 2, 2, 3, 4, 5])


def test_cells_are_averaged_where_they_are_defined_and_words_say_so() -> None:
    found = mean_over("seed", [made([1.0, np.nan], "no beta"), made([3.0, 5.0]), made([5.0, np.nan], "no beta")])
    np.testing.assert_array_equal(found.values, [3.0, 5.0])
    assert np.isfinite(found.interval[0][0])
    assert np.isnan(found.interval[0][1])  # a single seed has no interval
    assert found.message == (
        "no beta; mean over the 1 to 3 of 3 seeds where it is defined; no interval where only one is defined"
    )


def test_a_seed_without_the_measure_is_counted_out() -> None:
    found = mean_over("seed", [made(1.0), missing("u", "undefined", "beta is 0"), None, made(2.0)])
    assert found.estimate == 1.5
    assert found.n == 4
    assert np.isnan(found.points[1:3]).all()  # pyright: ignore[reportOptionalSubscript]
    assert found.message == "beta is 0; mean over the 2 of 4 seeds where it is defined"


def test_that_one_seed_has_no_interval_is_not_said_of_several() -> None:
    alone = [replace(made(value), replicate="none", message="nothing was resampled") for value in (1.0, 2.0)]
    assert mean_over("seed", alone).message == ""
    undefined = [replace(made([1.0, np.nan], "beta is 0"), replicate="none") for _ in range(2)]
    assert "beta is 0" in mean_over("seed", undefined).message


def test_what_is_the_same_for_every_seed_keeps_its_interval_over_tasks() -> None:
    twin = replace(made(2.0), nulls={}, no_nulls="the model has no part in it")
    found = mean_over("seed", [twin, twin, twin])
    assert (found.estimate, found.replicate, found.n) == (2.0, "task", 100)
    np.testing.assert_array_equal(found.interval, twin.interval)
    assert found.message == "the same for every seed: the interval is over tasks"
    moved = mean_over("seed", [twin, twin, replace(twin, interval=(np.array(0.5), np.array(3.0)))])
    assert (moved.replicate, moved.n) == ("seed", 3)


def test_no_seed_has_it() -> None:
    found = mean_over("seed", [missing("u", "undefined", "a"), missing("u", "undefined", "b"), None])
    assert (found.status, found.message, found.unit) == ("undefined", "a; b", "u")


def test_other_shapes_have_no_mean() -> None:
    assert mean_over("seed", [made([1.0]), made([1.0, 2.0])]).status == "not applicable"


@pytest.mark.parametrize("heads", ["head", "kv_head", "earlier_head"])
def test_heads_of_different_seeds_have_no_mean(heads: str) -> None:
    by_head = replace(made(np.ones((2, 3))), axes=("layer", heads))
    mean = mean_over("seed", [by_head, by_head])
    assert mean.status == "not applicable"
    assert "heads of different seeds do not correspond" in mean.message


def test_steps_become_the_leading_axis() -> None:
    first, last = made([1.0, 2.0], n_null=3), made([3.0, np.nan], "late", points=np.ones((4, 2)))
    found = along_steps((10, 20), [replace(first, points=np.ones((4, 2))), last])
    assert found.axes == ("step", "layer")
    assert found.labels("step") == (10, 20)
    np.testing.assert_array_equal(found.values, [[1, 2], [3, np.nan]])
    assert found.nulls["null"].shape == (3, 2, 2)
    assert np.isnan(found.nulls["null"][2, 1]).all()  # the later step has two samples only
    assert found.points is not None
    assert found.points.shape == (4, 2, 2)
    assert found.message == "step 20: late"


def test_a_step_with_one_seed_is_not_counted_with_those_with_several() -> None:
    """Its interval is over tasks, theirs over seeds."""
    several = mean_over("seed", [made(1.0), made(2.0)])
    found = along_steps((0, 500), [made(3.0, "one of them"), several])
    assert (found.replicate, found.n) == ("seed", 2)
    assert found.message == "step 0: one of them; the interval is over 100 tasks"
    assert along_steps((0, 500), [several, several]).message == ""
    turned = along_steps((0, 500), [several, made(3.0)])
    assert (turned.replicate, turned.n, turned.message) == ("task", 100, "step 0: the interval is over 2 seeds")


def test_a_step_without_the_measure_says_why() -> None:
    found = along_steps((1, 2, 3), [made(1.0), missing("u", "undefined", "beta is 0"), None])
    np.testing.assert_array_equal(found.values, [1, np.nan, np.nan])
    assert found.message == "step 2: beta is 0; step 3: not measured"
    assert along_steps((1, 2), [missing("u", "undefined", "why")] * 2).message == "why"
