"""Reports whose every number is written by hand, so that a table of them can be read back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mesascope.analyses import Report
from mesascope.probes.measure import Measure, missing

NULL = np.array([1.0, 2.0, 4.0])


def measure(value: Any, unit: str = "nat", half: float = 0.5, **fields: Any) -> Measure:
    """A number or an array, with an interval that reaches half as far down as up."""
    values = np.asarray(value, dtype=np.float64)
    given = {"replicate": "task", "n": 64, "no_nulls": "a count", **fields}
    return Measure(values, unit, (np.asarray(values - half / 2), np.asarray(values + half)), **given)


@pytest.fixture
def make_report(mean_answer: Any, make_subject: Any) -> Any:
    """A report of these measures on a model of this name."""
    from mesascope.analyses.runs.running import run

    base = run(make_subject(), mean_answer())

    def make(name: str, measures: Mapping[str, Measure], key: str = "0" * 16, **fields: Any) -> Report:
        sources = tuple(replace_name(source, name) for source in base.sources)
        return replace(base, measures=measures, sources=sources, key=key, heads={}, examples={}, arrays={}, **fields)

    return make


def replace_name(source: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {**source, "name": name, "revision": None}


@pytest.fixture
def two(make_report: Any) -> Sequence[Report]:
    """Two reports that share some measures, with no two numbers alike."""
    first = {
        "loss": measure(3.25, nulls={"untrained": NULL}, no_nulls=""),
        "cosine": measure(0.125, "cosine", 0.0625),
        "by_head": measure([[1.5, 2.5], [3.5, np.nan]], axes=("layer", "head"), message="one head is silent"),
        "gain": missing("nat", "not applicable", "there is nothing to gain"),
        "only_here": measure(-7.5, "label", replicate="seed", n=5),
    }
    second = {
        "loss": measure(4.75, nulls={"untrained": 10 * NULL, "shuffled": -NULL}, no_nulls=""),
        "cosine": measure(0.875, "cosine", 0.03125),
        "by_head": measure([[5.5, 6.5]], axes=("layer", "head")),
        "gain": measure(9.25),
    }
    return [make_report("alpha", first, "a" * 16), make_report("beta", second, "b" * 16)]
