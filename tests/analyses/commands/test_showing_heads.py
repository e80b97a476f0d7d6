"""Heads in the terminal: one row a head, as many columns as fit, and what is left out is counted."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mesascope.analyses.commands import showing_heads, terminal
from mesascope.analyses.commands.showing import print_report, report_summary
from mesascope.analyses.reports.record import MOST_HEADS
from mesascope.analyses.reports.report import Report
from mesascope.analyses.runs.running import run
from mesascope.probes.measure import Measure


@pytest.fixture
def report(mean_answer: Any, make_subject: Any) -> Report:
    return run(make_subject(), mean_answer())


def scores(shape: tuple[int, int]) -> Measure:
    values = np.linspace(0, 1, shape[0] * shape[1]).reshape(shape)
    return Measure(values, "score", (values - 0.1, values + 0.1), "task", 9, ("layer", "head"), no_nulls="none")


def lines(report: Report, capsys: pytest.CaptureFixture[str], columns: int, monkeypatch: pytest.MonkeyPatch) -> str:
    for module in (terminal, showing_heads):
        monkeypatch.setattr(module, "width", lambda: columns)
    showing_heads.print_heads(report)
    return capsys.readouterr().out


def test_a_report_shows_its_heads_with_a_verdict(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    print_report(report, Path("here"))
    text = capsys.readouterr().out
    (row,) = [line for line in text.splitlines() if line.split()[:1] == ["L1H1"]]
    assert row.split() == ["L1H1", "loud", "2.00", "[0.00,", "1.00]"]
    assert "L0H0" not in text  # its verdict is "none"
    assert "3 more heads; of all 4: 1 loud, 3 none" in text


def test_a_report_without_heads_shows_none(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    without = replace(report, heads={}, measures={"answer": report.measures["answer"]})
    print_report(without, Path("here"))
    assert "Heads" not in capsys.readouterr().out
    assert report_summary(without, Path("here"))["heads_frame"] == []


@pytest.mark.parametrize("columns", [40, 80, 200])
def test_columns_that_do_not_fit_are_named(
    report: Report, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, columns: int
) -> None:
    measures = {f"score_{name}": scores((1, 3)) for name in "abcdef"}
    text = lines(replace(report, measures=measures, heads={}), capsys, columns, monkeypatch)
    table, _, rest = text.partition("not in this width: ")
    row = next(line for line in table.splitlines() if "L0H2" in line)
    assert row.count("1.000 [0.900, 1.100]") == {40: 1, 80: 3, 200: 6}[columns]
    assert all(len(line) <= columns for line in table.splitlines())
    named = rest.splitlines()[0].split(", ") if rest else []
    assert len(named) == 6 - row.count("1.000 [")
    assert ("--json prints every head and column" in text) == bool(named)


def test_of_many_heads_the_first_are_shown_and_the_others_counted(
    report: Report, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    verdicts = {f"L{i}H{j}": "loud" for i, j in np.ndindex(6, 10)}
    many = replace(report, measures={"score": scores((6, 10))}, heads=verdicts)
    text = lines(many, capsys, 120, monkeypatch)
    assert sum(line.strip().startswith("L") for line in text.splitlines()) == MOST_HEADS
    assert "20 more heads; of all 60: 60 loud" in text


def test_json_has_every_head_and_column(report: Report) -> None:
    rows = report_summary(report, Path("here"))["heads_frame"]
    assert [row["name"] for row in rows] == ["L0H0", "L0H1", "L1H0", "L1H1"]
    assert rows[1]["by_head"] is None
    assert (rows[3]["verdict"], rows[3]["by_head"], rows[3]["by_head_high"]) == ("loud", 2.0, 1.0)
    odd = replace(report, heads={"\x1b[2Jhead": "loud"}, measures={})
    assert report_summary(odd, Path("here"))["heads_frame"] == [
        {"name": "\x1b[2Jhead", "layer": None, "head": None, "verdict": "loud"}
    ]


def test_names_do_not_steer_the_terminal(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    showing_heads.print_heads(replace(report, heads={"\x1b[2Jhead": "lo\x1b[31mud"}, measures={}))
    assert "\x1b[2J" not in capsys.readouterr().out
