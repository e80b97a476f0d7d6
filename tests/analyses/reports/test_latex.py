"""LaTeX tables: well-formed, and nothing in a name is a command."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mesascope.analyses.reports.latex import escape, tables
from mesascope.analyses.runs.running import run
from mesascope.probes.measure import Measure

SPECIALS = tuple("\\{}$&#^_~%")


@pytest.mark.parametrize("char", SPECIALS)
def test_specials_are_escaped(char: str) -> None:
    plain = re.sub(r"\\(text\w+\{\}|[{}$&#_%])", "", escape(f"a{char}b"))
    assert plain == "ab"


def test_lines_and_controls_cannot_leave_the_cell() -> None:
    assert escape("a\nb\x1b[2J\u202ec") == "a b[2Jc"


@pytest.mark.parametrize(
    ("given", "command"),
    [("λ", r"$\lambda$"), ("η", r"$\eta$"), ("α", r"$\alpha$"), ("ο", r"$\mathrm{o}$"), ("≤", r"$\leq$"), ("é", "é")],
)
def test_greek_and_signs_are_commands(given: str, command: str) -> None:
    """pdfTeX knows the letters by their commands alone."""
    assert escape(f"a {given}_1") == rf"a {command}\_1"


def test_tables_of_a_report(mean_answer: Any, make_subject: Any) -> None:
    made = tables(run(make_subject(), mean_answer()))
    assert set(made) == {"measures", "heads", "by_head"}
    scalar = made["measures"]
    assert r"\toprule" in scalar
    assert "absent" not in scalar  # a measure without a number has no row
    rows = [line for line in scalar.splitlines() if line.endswith(r"\\")]
    assert {line.count("&") for line in rows} == {4}
    assert "$0.1201$" in scalar
    assert r"by\_head & 0 & 1" in made["by_head"]
    assert "& --" in made["by_head"]


def test_hostile_names_stay_text(mean_answer: Any, make_subject: Any) -> None:
    report = run(make_subject(name="\\input{/etc/passwd}\n\\write18{rm}"), mean_answer())
    hostile = "x\\input{y} & 1 \\\\"
    measure = Measure(
        np.array(2e-12),
        "u",
        (np.array(1e-12), np.array(np.nan)),
        "ta&sk",
        3,
        nulls={"%": np.arange(3.0)},
        message="low only",
    )
    made = tables(replace(report, measures={hostile: measure}))["measures"]
    commands = set(re.findall(r"(?<!\\)\\([a-zA-Z]+)", made))
    assert commands <= {
        "toprule",
        "midrule",
        "bottomrule",
        "begin",
        "end",
        "times",
        "pm",
        "textbackslash",
        "usepackage",
    }
    assert all(line.startswith("%") for line in made.splitlines() if "usepackage" in line or "passwd" in line)
    (row,) = [line for line in made.splitlines() if "textbackslash" in line and not line.startswith("%")]
    assert len(re.findall(r"(?<!\\)&", row)) == 4
    assert r"$2 \times 10^{-12}$" in row
