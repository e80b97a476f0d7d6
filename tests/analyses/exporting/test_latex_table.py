"""The same tables in LaTeX: numbers read back from the source, wide tables, and what a TeX says, where there is one."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mesascope.analyses import Report
from mesascope.analyses.exporting.latex_table import latex
from mesascope.analyses.exporting.tables import table

from .conftest import measure

DOCUMENT = r"""\documentclass{article}
\usepackage[textwidth=5.5in,textheight=9in]{geometry}
\usepackage{booktabs}
\begin{document}
%s
\end{document}
"""
LONG = "a-long-family-of-models-seed%d-step100000"


def written(reports: Sequence[Report], *asked: str) -> str:
    found = table(reports, asked)
    assert found is not None
    return latex(found)


def rows(source: str) -> list[list[str]]:
    """The cells of every row of the tables, plain: no sizes, marks, math or breaks."""
    found = []
    for line in source.splitlines():
        if line.endswith(r"\\") and not line.startswith(r"\multicolumn"):
            plain = re.sub(
                r"\\textsuperscript\{[\w,]+\}|\\shortstack\[.\]|\\(quad|qquad|scriptsize) ?|\\\\|[{}$]", "", line
            )
            plain = re.sub(r" \\times 10\^(-?\d+)", r"e\1", plain).replace(r"\_", "_").replace(r"\pm", "±")
            found.append([cell.strip() for cell in plain.split("&")])
    return found


def test_numbers_stand_under_their_model(two: Sequence[Report]) -> None:
    found = {row[0]: row[1:] for row in rows(written(two, "loss", "cosine", "by_head[layer=0]", "gain"))}
    assert found[""] == ["alpha", "beta"]
    assert found["loss"] == ["3.25 [3, 3.75]", "4.75 [4.5, 5.25]"]
    assert found["cosine"] == ["0.125 [0.09375, 0.1875]", "0.875 [0.8594, 0.9062]"]
    assert found["null: untrained"] == ["2.333 ± 1.5", "23.33 ± 15"]
    assert found["null: shuffled"] == ["", "-2.333 ± 1.5"]
    assert found["gain"] == ["n/a", "9.25 [9, 9.75]"]


def test_units_head_their_measures(two: Sequence[Report]) -> None:
    source = written(two, "loss", "cosine", "only_here")
    places = [
        source.index(word) for word in (r"\emph{nat}", "loss", r"\emph{cosine}", r"\quad cosine", r"\emph{label}")
    ]
    assert places[0] < source.index(r"\quad loss") < places[2] < places[3] < places[4] < source.index(r"only\_here")


def test_every_mark_has_its_note_and_every_note_a_mark(two: Sequence[Report]) -> None:
    source = written(two, "loss", "cosine", "by_head", "gain", "only_here")
    above, notes = source.split(r"\begin{minipage}")
    marks = {mark for found in re.findall(r"\\textsuperscript\{([\w,]+)\}", above) for mark in found.split(",")}
    assert set(re.findall(r"\\textsuperscript\{(\w+)\}~", notes)) == marks
    assert "not applicable: there is nothing to gain." in notes


def many(make_report: Any, n: int, name: str = LONG) -> list[Report]:
    """n models, each with numbers of its own."""
    made = []
    for k in range(n):
        measures = {
            "a_measure_of_a_long_name_that_goes_on": measure(k + 0.12345, half=0.001),
            "p": measure(1e-7 * (k + 1)),
        }
        made.append(make_report(name % k, measures, f"{k:016x}"))
    return made


def test_what_is_too_wide_stands_below(make_report: Any) -> None:
    beside = rows(written(many(make_report, 2, "m%d")))
    assert ["a_measure_of_a_long_name_that_goes_on", "0.1235 [0.123, 0.1245]", "1.123 [1.123, 1.124]"] in beside
    source = written(many(make_report, 7))
    assert source.count(r"\begin{table}") == source.count(r"\end{table}") > 1
    assert source.count(r"\label{tab:mean-answer}") == source.count(r"\label{tab:mean-answer-2}") == 1
    found = rows(source)
    headers = [cell for row in found if row[0] == "" and "seed" in row[1] for cell in row[1:]]
    assert headers == [LONG % n for n in range(7)]
    estimates = [cell for row in found if row[0].startswith("a_measure") for cell in row[1:]]
    assert [float(cell) for cell in estimates] == [float(f"{n + 0.12345:.4g}") for n in range(7)]
    below = [row[1:] for row, before in zip(found[1:], found, strict=False) if before[0].startswith("a_measure")]
    assert [cell for row in below for cell in row][3] == "[3.123, 3.124]"
    keys = re.findall(r"report ([0-9a-f]{16})", source)
    assert [int(key, 16) for key in keys] == list(range(7))


HOSTILE = r"\input{x} & 1 \\ % $x$ #1 {y ~^[2pt]*"


def brackets(make_report: Any) -> list[Report]:
    """A name that is broken before its bracket, which LaTeX must not take for a length."""
    whole = measure(np.ones((2, 2)), axes=("a_long_name_of_layers", "head"))
    return [make_report("a", {"a_name_to_be_broken": whole})]


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="needs pdflatex")
@pytest.mark.parametrize("kind", ["two", "one a page", "wide", "hostile", "brackets"])
def test_a_tex_accepts_it_and_nothing_sticks_out(kind: str, two: Any, make_report: Any, tmp_path: Path) -> None:
    source = {
        "two": lambda: written(two, "loss", "cosine", "by_head", "gain", "only_here"),
        "one a page": lambda: written(many(make_report, 1)),
        "wide": lambda: written(many(make_report, 7)),
        "hostile": lambda: written([make_report(HOSTILE, {HOSTILE: measure(1.0, HOSTILE, no_nulls=HOSTILE)})]),
        "brackets": lambda: written(brackets(make_report), "a_name_to_be_broken"),
    }[kind]()  # fmt: skip
    (tmp_path / "t.tex").write_text(DOCUMENT % source)
    line = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "t.tex"]
    done = subprocess.run(line, cwd=tmp_path, capture_output=True, text=True, errors="replace", timeout=60)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout
    assert "too large" not in done.stdout
