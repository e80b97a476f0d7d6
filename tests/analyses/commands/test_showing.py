"""A report in the terminal: intervals in brackets, and ranges of null models called what they are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mesascope.analyses.commands.showing import print_report
from mesascope.analyses.runs.running import run
from mesascope.probes.measure import Measure


@pytest.fixture
def shown(mean_answer: Any, make_subject: Any, capsys: pytest.CaptureFixture[str]) -> Any:
    """What is printed of a report with these measures in place of its own."""
    report = run(make_subject(), mean_answer())

    def printed(measures: dict[str, Measure]) -> str:
        print_report(replace(report, measures=measures), Path("here"))
        return capsys.readouterr().out

    return printed


def measure(**nulls: np.ndarray) -> Measure:
    low, high = np.asarray(0.101), np.asarray(0.109)
    no_nulls = "" if nulls else "a constant"
    return Measure(np.asarray(0.105), "nat", (low, high), "task", 9, nulls=nulls, no_nulls=no_nulls)


def test_an_estimate_stands_beside_its_interval(shown: Any) -> None:
    text = shown({"gap": measure()})
    assert "estimate [95 % CI]" in text
    assert "0.105 [0.101, 0.109]" in text
    assert "9 × task" in text
    assert "null model" not in text


def test_of_many_samples_the_title_says_95_percent_range(shown: Any) -> None:
    text = shown({"gap": measure(shuffled=np.arange(101.0))})
    assert "Measures, with the mean and 95 % range of each null model" in text
    assert "50 [2.5, 98]" in text
    assert "minimum" not in text


def test_of_few_samples_the_column_says_minimum_to_maximum(shown: Any) -> None:
    text = shown({"gap": measure(shuffled=np.arange(101.0), untrained=np.array([1.0, 2.0, 6.0]))})
    assert "Measures, with the mean and range of each null model" in text
    assert "null: untrained (minimum to maximum of 3)" in text
    assert "null: shuffled (95 % range)" in text
    assert "3 [1, 6]" in text


def test_measures_without_a_value_say_why(shown: Any, mean_answer: Any, make_subject: Any) -> None:
    measures = run(make_subject(), mean_answer()).measures
    text = shown(dict(measures))
    assert "Measures without a value" in text
    assert "nothing to divide by" in text
    assert "Measures along axes" in text
