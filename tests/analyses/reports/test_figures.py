"""Figures: the same bytes whoever draws them, nobody's settings changed, no torch, and a figure for every probe."""

from __future__ import annotations

import base64
import gc
import os
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pandas as pd
import pytest
from matplotlib.backends.backend_agg import RendererAgg
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from mesascope.analyses.reports import figures, parts
from mesascope.analyses.reports.report import Report
from mesascope.analyses.runs.running import run, source_record
from mesascope.data.errors import UsageError
from mesascope.models.subject import Source
from mesascope.probes.drawing import page, single_numbers
from mesascope.probes.measure import Claim, Measure, missing
from PIL import Image


def scalar(value: float, unit: str, nulls: Mapping[str, np.ndarray] | None = None) -> Measure:
    bounds = (np.asarray(value - 0.1), np.asarray(value + 0.1))
    reason = "" if nulls else "none was asked for"
    return Measure(np.asarray(value), unit, bounds, "sequence", 40, nulls=nulls or {}, no_nulls=reason)


@pytest.fixture
def report() -> Report:
    measures = {
        "induction_score": scalar(0.8, "probability", {"shuffled": np.linspace(0, 0.1, 20)}),
        "copying_score": scalar(0.4, "probability"),
        "=cmd|loss": scalar(2.5, "nat"),
        "previous_token": missing("probability", "undefined", "no pattern to read"),
    }
    claim = Claim("", "", "", (), "", ())
    source = source_record(Source("tiny", "made up"))
    return Report("a-probe-of-yours", "1", {}, (source,), {}, {}, claim, measures, {}, 0, "0" * 16)


def contents(paths: list[Path]) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in paths}


def test_a_probe_without_figures_gets_its_measures(report: Report, tmp_path: Path) -> None:
    paths = figures.draw(report, tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in paths] == [
        f"figures/measures.{kind}" for kind in ("pdf", "svg", "png", "csv", "txt", "tex")
    ]
    table = pd.read_csv(paths[3])
    row = table[table["series"] == "induction_score"].set_index("kind")
    assert row.loc["estimate", ["value", "low", "high", "n"]].tolist() == [0.8, 0.8 - 0.1, 0.8 + 0.1, 40]
    assert row.loc["null: shuffled", "n"] == 20
    words = table[table["kind"] == "words"].set_index("series")["message"]
    assert words["previous_token"] == "no pattern to read"
    assert words["copying_score"] == "no null: none was asked for"  # and the induction score has one
    assert "induction_score" not in words
    assert "'=cmd|loss" in set(table["series"])  # no spreadsheet takes it for a formula


def test_the_same_report_gives_the_same_bytes(report: Report, tmp_path: Path) -> None:
    first = contents(figures.draw(report, tmp_path / "a"))
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 5, "svg.hashsalt": "mine"}):
        assert contents(figures.draw(report, tmp_path / "b")) == first


def test_another_process_draws_the_same_bytes_and_needs_no_torch(
    mean_answer: Any, make_subject: Any, tmp_path: Path
) -> None:
    code = """if True:
        import sys
        from mesascope.analyses.reports import figures, parts
        from mesascope.analyses.reports.report import Report
        figures.draw(Report.load(sys.argv[1]), sys.argv[2])
        assert "torch" not in sys.modules
        assert "matplotlib.pyplot" not in sys.modules
    """
    report = run(make_subject(), mean_answer())
    assert isinstance(report, Report)
    saved = report.save(tmp_path / "saved", figures="none")
    environment = {**os.environ, "PYTHONHASHSEED": "7", "MPLBACKEND": "svg"}
    subprocess.run([sys.executable, "-c", code, str(saved), str(tmp_path / "there")], env=environment, check=True)
    here = figures.draw(report, tmp_path / "here")
    assert contents(list((tmp_path / "there" / "figures").iterdir())) == contents(here)


def test_nobodys_settings_change(report: Report, tmp_path: Path) -> None:
    with matplotlib.rc_context({"font.size": 13.0}):
        before, backend = dict(matplotlib.rcParams), matplotlib.get_backend(auto_select=False)
        figures.draw(report, tmp_path)
        figures.plot(report, ax=Figure().add_subplot())
        assert dict(matplotlib.rcParams) == before
        assert matplotlib.get_backend(auto_select=False) == backend


def test_files_carry_real_fonts_and_no_date(report: Report, tmp_path: Path) -> None:
    written = contents(figures.draw(report, tmp_path))
    assert b"/CIDFontType2" in written["measures.pdf"]
    assert b"/Type3" not in written["measures.pdf"]
    assert b"CreationDate" not in written["measures.pdf"]
    assert b"dc:date" not in written["measures.svg"]


@pytest.mark.parametrize(("style", "width"), [("neurips", 5.5), ("iclr", 5.5), ("icml", 3.25), ("acl", 3.03)])
def test_widths_are_those_of_the_venue(report: Report, style: str, width: float) -> None:
    drawn = figures.render(report, "measures", style)
    assert drawn is not None
    assert drawn[0].get_figwidth() == width


def test_only_the_formats_asked_for_are_written(report: Report, tmp_path: Path) -> None:
    assert set(contents(figures.draw(report, tmp_path, ["png"]))) == {
        "measures.png",
        "measures.csv",
        "measures.txt",
        "measures.tex",
    }


def test_the_headline_goes_on_the_callers_axes(report: Report) -> None:
    figure = Figure()
    left, right = figure.subplots(1, 2)
    table = figures.plot(report, ax=right)
    assert len(left.lines) == 0
    assert set(table["series"]) == {"induction_score", "copying_score", "previous_token"}
    assert [label.get_text() for label in right.get_yticklabels()] == list(dict.fromkeys(table["series"]))


def test_an_unknown_style_or_format_is_refused_with_the_nearest(report: Report, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"'neurip'.*did you mean neurips"):
        figures.draw(report, tmp_path, style="neurip")
    with pytest.raises(UsageError, match=r"'pfd'.*did you mean pdf"):
        figures.draw(report, tmp_path, ["pfd"])


@pytest.fixture
def counts(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often matplotlib made a figure, laid one out, drew one, and made something to draw pixels on."""
    found: Counter[str] = Counter()
    for kind, method in [
        (Figure, "__init__"), (ConstrainedLayoutEngine, "execute"), (Figure, "draw"), (RendererAgg, "__init__"),
    ]:  # fmt: skip
        name, own = f"{kind.__name__}.{method}", getattr(kind, method)

        def counted(self: Any, *args: Any, name: str = name, own: Any = own, **keywords: Any) -> Any:
            found[name] += 1
            return own(self, *args, **keywords)

        monkeypatch.setattr(kind, method, counted)
    return found


def test_a_figure_is_made_and_laid_out_once_and_drawn_once_a_format(
    report: Report, tmp_path: Path, counts: Counter[str]
) -> None:
    figures.draw(report, tmp_path)
    once = {"Figure.__init__": 1, "ConstrainedLayoutEngine.execute": 1}
    # one renderer until the legend's height is known, and one for the figure as high as it then is
    assert counts == {**once, "RendererAgg.__init__": 2, "Figure.draw": 3}


def test_the_page_shows_the_picture_that_was_saved_and_draws_none(
    mean_answer: Any, make_subject: Any, tmp_path: Path, counts: Counter[str]
) -> None:
    made = run(make_subject(), mean_answer())
    assert isinstance(made, Report)
    folder = made.save(tmp_path)
    assert (counts["Figure.__init__"], counts["Figure.draw"]) == (1, 3)
    (picture,) = (folder / "figures").glob("*.png")
    assert base64.b64encode(picture.read_bytes()).decode() in (folder / "report.html").read_text()


def test_the_layout_is_matplotlibs_and_the_same_whatever_is_drawn_first(report: Report, tmp_path: Path) -> None:
    alone = contents(figures.draw(report, tmp_path / "a", ["png"]))
    assert alone["measures.png"] == contents(figures.draw(report, tmp_path / "b"))["measures.png"]
    drawn = page.compose(figures.figures_of(report.probe)["measures"], report.findings)
    assert drawn is not None
    with page.settings():
        drawn[0].savefig(tmp_path / "theirs.png")  # lays out again, as it draws
    paths = tmp_path / "a" / "figures" / "measures.png", tmp_path / "theirs.png"
    ours, theirs = (np.asarray(Image.open(path).convert("RGB")) for path in paths)
    np.testing.assert_array_equal(ours, theirs)


def test_only_the_main_figure_is_the_first_that_has_something_to_draw(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    build = single_numbers.measures_figure
    three = {"none": lambda findings, page: None, "first": build, "second": build}
    monkeypatch.setattr(single_numbers, "FIGURES", three)
    written = figures.draw(report, tmp_path / "a", ["png"], main_only=True)
    assert [path.name for path in written] == ["first.png", "first.csv", "first.txt", "first.tex"]
    assert {path.stem for path in figures.draw(report, tmp_path / "b", ["png"])} == {"first", "second"}


def test_garbage_is_collected_again_afterwards(report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(findings: Any, page: Any) -> None:
        assert not gc.isenabled()
        raise ValueError("no figure")

    monkeypatch.setattr(single_numbers, "FIGURES", {"measures": fails})
    with pytest.raises(ValueError, match="no figure"):
        figures.draw(report, tmp_path)
    assert gc.isenabled()


def test_installed_packages_are_searched_once_for_the_figures_of_a_probe(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    monkeypatch.setattr(parts, "entry_points", lambda group, name: asked.append(f"{group} {name}") or ())
    another = replace(report, probe="another-probe-of-yours")
    figures.draw(another, tmp_path)
    figures.draw(another, tmp_path)
    assert asked == ["mesascope.figures another-probe-of-yours"]
