"""Strict JSON: what goes in comes out."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from mesascope.analyses.reports.records import dumps, json_value, loads, measure_from, measure_record
from mesascope.probes.measure import Measure


def test_plain_values_of_every_kind() -> None:
    given = {"b": (1, 2.5), "a": np.float32(0.5), "path": Path("x/y"), 3: np.array([1.0, np.nan, np.inf, -np.inf])}
    assert json_value(given) == {"3": [1.0, None, "Infinity", "-Infinity"], "a": 0.5, "b": [1, 2.5], "path": "x/y"}
    assert list(json_value({"b": 1, "a": 2})) == ["a", "b"]


def test_what_json_cannot_hold_is_refused() -> None:
    with pytest.raises(TypeError, match="a object in a report"):
        json_value({"x": object()})


@pytest.mark.parametrize("value", [{}, [], {"a": {}}, [[], [1]], {"a": [1, [2, {"b": None}]]}, "é\u202e\x1b</script>"])
def test_text_round_trip(value: object) -> None:
    text = dumps(value)
    assert text.isascii()
    assert json.loads(text) == value == loads(text)


@pytest.mark.parametrize("text", ["NaN", '{"a": Infinity}', '{"a": 1, "a": 2}', "{", "1 2"])
def test_what_is_not_strict_is_refused(text: str) -> None:
    with pytest.raises(ValueError):
        loads(text)


def test_not_a_number_is_not_written_as_one() -> None:
    with pytest.raises(ValueError):
        dumps({"a": float("nan")})


def test_a_measure_comes_back_whole() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(2, 3)) * 1e-300
    values[0, 1] = np.nan
    values[1, 2] = np.inf
    measure = Measure(
        values, "label", (values - 1, values + 1), "seed", 4, axes=("layer", "twin"), coords={"twin": ("a", "b", "c")},
        nulls={"none": rng.normal(size=(5, 2, 3)), "empty": np.empty((0, 2, 3))}, points=rng.normal(size=(4, 2, 3)),
        higher_is_better=False, message="one cell is undefined",
    )  # fmt: skip
    again = measure_from(loads(dumps(measure_record(measure))))
    for name in ("unit", "replicate", "n", "axes", "coords", "no_nulls", "higher_is_better", "status", "message"):
        assert getattr(again, name) == getattr(measure, name)
    np.testing.assert_array_equal(again.values, measure.values)
    np.testing.assert_array_equal(again.interval, measure.interval)
    np.testing.assert_array_equal(again.points, measure.points)
    assert again.nulls["empty"].shape == (0, 2, 3)
    np.testing.assert_array_equal(again.nulls["none"], measure.nulls["none"])
