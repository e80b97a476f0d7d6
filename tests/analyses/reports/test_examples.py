"""Examples of a report: read back as they were, and inert text wherever people see them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mesascope.analyses.commands.showing import print_report, report_summary
from mesascope.analyses.reports import html, latex
from mesascope.analyses.reports.report import Report
from mesascope.analyses.runs.family import run_family
from mesascope.analyses.runs.running import run
from mesascope.data.errors import UsageError
from mesascope.probes.findings import Examples

TOKENS = Examples(("token", "norm", "layer"), ((" the\n", 3.14159265, 0), ("<b>&_", math.inf, 1), (None, 2.0, None)))


@pytest.fixture
def report(mean_answer: Any, make_subject: Any) -> Report:
    return replace(
        run(make_subject(), mean_answer()), examples={"short_tokens": Examples(("a",), ()), "long_tokens": TOKENS}
    )


def test_they_come_back_as_they_were(report: Report, tmp_path: Path) -> None:
    folder = report.save(tmp_path, figures="none")
    loaded = Report.load(folder)
    assert loaded.examples == report.examples
    assert list(loaded.examples) == ["long_tokens", "short_tokens"]
    assert loaded.examples["long_tokens"].rows[0] == (" the\n", 3.14159265, 0)
    assert loaded.findings.examples == loaded.examples
    assert loaded.edited == ()


DAMAGES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "none": lambda record: record.pop("examples"),
    "a short row": lambda record: record["examples"]["long_tokens"]["rows"][0].pop(),
    "a nested cell": lambda record: record["examples"]["long_tokens"]["rows"][0].__setitem__(0, ["x"]),
    "no columns": lambda record: record["examples"]["long_tokens"].pop("columns"),
    "words": lambda record: record.update(examples="words"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_what_is_none_is_damage(report: Report, tmp_path: Path, name: str) -> None:
    folder = report.save(tmp_path, figures="none")
    record = json.loads((folder / "report.json").read_text())
    DAMAGES[name](record)
    (folder / "report.json").write_text(json.dumps(record))
    with pytest.raises(UsageError, match=r"report.json: damaged"):
        Report.load(folder)


def test_an_edited_example_is_an_edit(report: Report, tmp_path: Path) -> None:
    folder = report.save(tmp_path, figures="none")
    text = (folder / "report.json").read_text()
    (folder / "report.json").write_text(text.replace("3.14159265", "3.5"))
    assert Report.load(folder).edited == ("report.json",)


def test_the_terminal_shows_the_first_rows(report: Report, capsys: pytest.CaptureFixture[str]) -> None:
    many = Examples(("token", "norm"), tuple((f"token{i}", float(i)) for i in range(20)))
    print_report(replace(report, examples={**report.examples, "many": many}), Path("here"))
    out = capsys.readouterr().out
    assert "Long tokens" in out
    assert "the⏎" in out
    assert "3.142" in out
    assert "token7" in out
    assert "token8" not in out
    assert "12 more rows: --json" in out


def test_for_a_program_they_are_whole(report: Report) -> None:
    found = report_summary(report, Path("here"))["examples"]
    assert found["long_tokens"]["rows"][1] == ["<b>&_", "Infinity", 1]
    json.dumps(found, allow_nan=False)


def test_the_page_prints_them_as_text(report: Report) -> None:
    page = html.page(report, [])
    assert 'href="#examples"' in page
    assert "<td>&lt;b&gt;&amp;_</td>" in page
    assert '<td class="number">3.142</td>' in page
    assert "Short tokens" not in page, "it has no row"
    many = Examples(("token",), tuple((f"token{i}",) for i in range(70)))
    assert "10 more rows stand in" in html.page(replace(report, examples={"many": many}), [])
    assert 'id="examples"' not in html.page(replace(report, examples={}), [])


def test_the_table_for_a_paper_is_escaped(report: Report) -> None:
    tables = latex.tables(report)
    assert "short_tokens" not in tables
    assert r"Token & Norm & Layer \\" in tables["long_tokens"]
    assert r"<b>\&\_" in tables["long_tokens"]
    assert r"\begin{tabular}{lrr}" in tables["long_tokens"]
    many = Examples(("token",), tuple((f"token{i}",) for i in range(25)))
    assert "5 more rows stand in report.json" in latex.tables(replace(report, examples={"many": many}))["many"]


def test_a_report_over_seeds_has_none(mean_answer: Any, seeds: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    measure = mean_answer.measure

    def with_examples(self: Any, *given: Any, **more: Any) -> Any:
        return replace(measure(self, *given, **more), examples={"tokens": TOKENS})

    monkeypatch.setattr(mean_answer, "measure", with_examples)
    answer = run_family(seeds, mean_answer())
    assert isinstance(answer, tuple)
    assert answer[0][0].examples == {
        "tokens": replace(TOKENS, rows=(TOKENS.rows[0], ("<b>&_", "Infinity", 1), TOKENS.rows[2]))
    }
    assert answer[1].examples == {}
    alone = run_family(seeds[:2], mean_answer())  # two steps of one seed
    assert isinstance(alone, tuple)
    assert list(alone[1].examples) == ["tokens"], "those of the last step"
