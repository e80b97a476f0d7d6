"""Many reports at a glance: in their natural order, members below their family, and what cannot be read named."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mesascope import analyses
from mesascope.analyses.reports.digests import sealed
from mesascope.analyses.reports.overview import Row, first_sentence, natural, overview, rows
from mesascope.analyses.reports.report import Report
from mesascope.analyses.runs.family import run_family
from mesascope.analyses.runs.running import run
from mesascope.data.errors import UsageError


@pytest.fixture
def family(mean_answer: Any, make_subject: Any, tmp_path: Path) -> Path:
    """Three steps, the report over them, and a checkpoint of its own."""
    subjects = [make_subject(1 + step, step=step, seed=0, revision=f"step{step}") for step in (10, 2, 100)]
    answer = run_family(subjects, mean_answer())
    assert isinstance(answer, tuple)
    for report in (*answer[0], answer[1], run(make_subject(3.0, "alone"), mean_answer())):
        report.save(tmp_path / "out", figures="none")
    return tmp_path / "out"


def test_members_stand_below_their_family_and_steps_count_up(family: Path) -> None:
    found = rows(family)
    assert [(row.checkpoint, row.steps, row.checkpoints) for row in found] == [
        ("alone", (), 1),
        ("built", (2, 10, 100), 3),
        ("built-step2", (2,), 1),
        ("built-step10", (10,), 1),
        ("built-step100", (100,), 1),
    ]
    assert [row.member_of for row in found] == [None, None, *[found[1].folder] * 3]
    assert [row.steps_in_words for row in found[:3]] == ["", "2 to 100", "2"]
    assert (found[2].revision, found[2].seed) == ("step2", 0)
    for row in found:
        report = Report.load(family / row.folder)
        assert (row.probe, row.probe_version, row.key) == ("mean-answer", "1", report.key)
        assert row.verdict == report.claim.found
        assert not row.edited
        assert row.problem is None


def test_the_table_has_a_row_a_report(family: Path) -> None:
    table = analyses.overview(family)
    assert list(table.checkpoint) == [row.checkpoint for row in rows(family)]
    assert list(table.columns[:4]) == ["checkpoint", "revision", "seed", "step"]
    assert table.step.tolist()[1:] == [100, 2, 10, 100]
    assert table.step.isna().tolist() == [True, False, False, False, False]


def test_a_member_of_another_probe_or_key_stands_alone(family: Path, mean_answer: Any, make_subject: Any) -> None:
    subject = make_subject(3, step=2, seed=0, revision="step2")
    run(subject, mean_answer(offset=1.0)).save(family, figures="none")
    alone = [row for row in rows(family) if row.checkpoint == "built-step2" and row.member_of is None]
    assert len(alone) == 1
    assert len(rows(family)) == 6


def test_only_report_json_is_read(family: Path) -> None:
    before = rows(family)
    for path in family.rglob("*"):
        if path.is_file() and path.name != "report.json":
            path.unlink()
    assert rows(family) == before


def change(folder: Path, edit: Callable[[dict[str, Any]], Any], **words: Any) -> None:
    record = json.loads((folder / "report.json").read_text())
    edit(record)
    (folder / "report.json").write_text(json.dumps(record, **words))


def test_what_cannot_be_read_stands_last_and_says_what_to_do(family: Path) -> None:
    whole = rows(family)
    broken = {row.folder: family / row.folder for row in whole[2:]}
    harmed = list(broken.values())
    change(harmed[0], lambda record: record.update(format="mesascope-report-2"))
    (harmed[1] / "report.json").write_text('{"format"')
    change(harmed[2], lambda record: record.pop("measures"))
    found = rows(family)
    assert found[:2] == whole[:2]
    problems = {row.folder: str(row.problem) for row in found[2:]}
    assert set(problems) == set(broken)
    said = [problems[folder] for folder in broken]
    assert "its format is 'mesascope-report-2', expected 'mesascope-report-3'; run the probe again" in said[0]
    assert "report.json: damaged" in said[1]
    assert "Run the probe again" in said[2]
    assert not any(str(family) in problem for problem in said), "the same words wherever the folder lies"
    assert overview(family).problem.notna().tolist() == [False, False, True, True, True]


def test_an_edited_verdict_is_marked(family: Path) -> None:
    first = rows(family)[0]
    change(family / first.folder, lambda record: record["claim"].update(found="It is proven. Really."))
    assert rows(family)[0] == replace(first, verdict="It is proven.", edited=True)


@pytest.mark.parametrize(
    ("old", "new"), [("mean answer is", "mean answer surely is"), ('"status": "ok"', '"status":  "ok"')]
)
def test_an_edit_in_place_is_marked_unless_it_is_of_the_layout_alone(family: Path, old: str, new: str) -> None:
    before = rows(family)
    path = family / before[0].folder / "report.json"
    path.write_text(path.read_text().replace(old, new, 1))
    assert [row.edited for row in rows(family)] == [old != '"status": "ok"', *[False] * 4]


def test_an_edited_number_is_marked(family: Path) -> None:
    first = rows(family)[0]
    path = family / first.folder / "report.json"
    text = path.read_text()
    number = text.split('"values": ')[1].split(",")[0]
    path.write_text(text.replace(number, "0.5", 1))
    assert rows(family)[0] == replace(first, edited=True)


def test_another_layout_is_read_too(family: Path) -> None:
    before = rows(family)
    for row in before:
        change(family / row.folder, lambda record: None, indent=1, sort_keys=False)
    assert rows(family) == before


FORGERIES: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no sources": lambda record: record.update(sources=[]),
    "a step in words": lambda record: record["sources"][0].update(step="ten"),
    "a member without a name": lambda record: record.update(members=[{"key": "a"}]),
    "no claim": lambda record: record.update(claim=None),
    "another format": lambda record: record.update(format="mesascope-report-4"),
    "sources that are none": lambda record: record.update(sources=7),
}


@pytest.mark.parametrize("name", FORGERIES)
def test_a_record_with_a_right_digest_may_still_be_anything(family: Path, name: str) -> None:
    whole = rows(family)
    path = family / whole[0].folder / "report.json"
    record = json.loads(path.read_text())
    FORGERIES[name](record)
    record.pop("sha256")
    path.write_text(sealed(record, {}))
    found = rows(family)
    assert (len(found), found[:-1]) == (5, whole[1:])
    assert ("its format is" if name == "another format" else "report.json: damaged") in str(found[-1].problem)


def test_reports_that_are_being_written_are_left_out(family: Path) -> None:
    before = rows(family)
    folder = family / before[0].folder
    (folder / "report.json").rename(folder.parent / "kept")
    (folder.parent / ".mesascope-new-x").mkdir()
    (folder.parent / "kept").rename(folder.parent / ".mesascope-new-x" / "report.json")
    assert rows(family) == before[1:]


def test_no_folder_is_an_error_and_an_empty_one_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        overview(tmp_path / "nowhere")
    assert len(overview(tmp_path)) == 0


@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("None of the 8 heads.", "None of the 8 heads."),
        ("3 of 8 heads (strength 0.07 to 0.14).  Mean-ablating all.", "3 of 8 heads (strength 0.07 to 0.14)."),
        ("Norms grow × 2.45 a layer (95 % CI 2.4 to 2.5), first × 1.5. More.",
         "Norms grow × 2.45 a layer (95 % CI 2.4 to 2.5), first × 1.5."),
        ("agrees vs. all others", "agrees vs. all others"),
        ("", ""),
    ],
)  # fmt: skip
def test_a_verdict_is_the_first_sentence(text: str, first: str) -> None:
    assert first_sentence(text) == first


def test_numbers_sort_as_numbers_and_beside_words() -> None:
    given = ["step10", "step2", "step", "10", "2", "a-2-b", "a-10-b", "²", ""]
    assert sorted(given, key=natural) == ["", "2", "10", "a-2-b", "a-10-b", "step", "step2", "step10", "²"]


def test_a_row_without_steps_has_no_words_for_them() -> None:
    assert Row("somewhere").steps_in_words == ""
