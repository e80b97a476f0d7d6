"""A timeline's folder: whole or absent, the same bytes for the same reports, and no report itself."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path

import pytest
from mesascope.analyses.reports import saving
from mesascope.analyses.reports.overview import report_folders
from mesascope.analyses.timelines.making import timelines
from mesascope.analyses.timelines.points import Point
from mesascope.analyses.timelines.saved import load
from mesascope.data.errors import OutputError, UsageError

from .made_up import STEPS, MadeUp, rising

FILES = ["timeline.csv", "timeline.html", "timeline.json", "timeline.pdf", "timeline.png", "timeline.svg"]


def points_of(made_up: MadeUp) -> list[Point]:
    """Two probes, two seeds, and a step that failed."""
    points = [p for seed in (0, 1) for p in made_up.training("alpha", rising(50), seed=seed)]
    points += made_up.training("beta", [1 - value for value in rising(200)], null=0.5)
    points.append(Point("alpha", "toy", 1, 700, why="killed by <b>signal 9</b>", failed=True))
    return points


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def test_the_folder_is_whole_and_its_bytes_do_not_depend_on_the_order(made_up: MadeUp, tmp_path: Path) -> None:
    points = points_of(made_up)
    (one,), (other,) = timelines(points, tmp_path / "one"), timelines(points[::-1], tmp_path / "other")
    assert one == tmp_path / "one" / "timeline" / "toy"
    assert sorted(contents(one)) == FILES
    assert contents(one) == contents(other)
    before = one.stat().st_ino
    assert timelines(points, tmp_path / "one") == [one]
    assert one.stat().st_ino == before  # of the same reports it is kept


def test_the_record_holds_everything(made_up: MadeUp) -> None:
    points = points_of(made_up)
    (folder,) = timelines(points, made_up.out)
    record = load(folder)
    assert (record["label"], record["trainings"], record["steps"]) == (
        "toy",
        ["seed 0", "seed 1"],
        [*STEPS[:7], 700, 1000, 2000],
    )
    score, attention, loss = record["series"]
    assert [one["followed"]["measure"] for one in (score, attention, loss)] == ["score", "by_head", "loss"]
    seed1 = score["trainings"]["seed 1"]
    assert seed1["onset"] == {"after": 20, "by": 50, "later": 5}
    assert seed1["curve"]["estimate"][7] is None
    assert seed1["curve"]["why"][7] == "killed by <b>signal 9</b>"
    assert seed1["curve"]["failed"].count(True) == 1
    assert score["over"] == {
        "seeds": 2,
        "begun": 2,
        "at_once": 0,
        "median": [20, 50],
        "interval": None,
        "range": [20, 50],
    }
    assert loss["trainings"]["seed 0"]["changes"][0]["after"] == 100
    assert [(pair["first"], pair["second"]) for pair in record["pairs"]] == [
        ("alpha: the score", "alpha: attention"),
        ("alpha: the score", "beta: the loss"),
        ("alpha: attention", "beta: the loss"),
    ]
    assert record["pairs"][1]["left_out"] == ["seed 1"]
    assert record["pairs"][1]["order"]["first"] == ["seed 0"]
    assert record["pairs"][1]["order"]["lead"] == [50, 180]
    assert {report["folder"] for report in record["reports"]} == {
        point.folder.relative_to(made_up.out).as_posix() for point in points if point.folder
    }
    assert all(re.fullmatch("[0-9a-f]{16}", report["key"]) for report in record["reports"])
    assert record["without_report"] == [
        {"probe": "alpha", "seed": 1, "step": 700, "why": "killed by <b>signal 9</b>", "failed": True}
    ]
    assert record["sentences"]["onsets"][0] == score["sentence"]


def test_the_page_is_self_contained_and_names_are_inert(made_up: MadeUp) -> None:
    (folder,) = timelines(points_of(made_up), made_up.out)
    page = (folder / "timeline.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://|<script|<link|<b>signal", page)
    assert "default-src &#39;none&#39;" in page or "default-src 'none'" in page
    assert "killed by &lt;b&gt;signal 9&lt;/b&gt;" in page
    record = load(folder)
    for sentence in (*record["sentences"]["onsets"], *record["sentences"]["order"]):
        assert sentence in page.replace("&#39;", "'")
    assert "data:image/png;base64," in page
    assert page.count("700</td><td>failed") == 2


def test_it_is_not_taken_for_a_report(made_up: MadeUp) -> None:
    before = report_folders(made_up.out)
    timelines(points_of(made_up)[:9], made_up.out)
    assert set(report_folders(made_up.out)) >= set(before)
    assert not [path for path in report_folders(made_up.out) if "timeline" in path.parts]


def test_nothing_is_made_of_one_step_or_of_what_nobody_follows(made_up: MadeUp) -> None:
    points = made_up.training("alpha", [1.0], steps=(5,)) + made_up.training("gamma", rising(50))
    assert timelines(points[:1], made_up.out) == []
    assert timelines(points[1:], made_up.out) == []
    gone = replace(points[0], step=7, folder=None, why="not measured yet")
    assert timelines([points[0], gone], made_up.out) == []
    assert timelines([], made_up.out) == []
    assert not (made_up.out / "timeline").exists()


def test_two_architectures_of_one_name_have_a_folder_each(made_up: MadeUp) -> None:
    points = made_up.training("alpha", rising(50))
    made_up.facts = {"n_layers": 2}
    others = [replace(point, model="/elsewhere/toy") for point in made_up.training("alpha", rising(20))]
    folders = timelines([*points, *others], made_up.out)
    assert len(set(folders)) == 2
    assert {load(folder)["series"][0]["trainings"]["seed 0"]["onset"]["by"] for folder in folders} == {20, 50}


def test_it_changes_with_a_report_and_a_killed_run_leaves_nothing(made_up: MadeUp) -> None:
    points = made_up.training("beta", rising(50))
    (folder,) = timelines(points, made_up.out)
    for kind in ("new", "old"):  # of a process that is dead
        folder.with_name(f".mesascope-{kind}-{saving._host()}-{2**22 + 1}-0000abcd-toy").mkdir()
    points.append(made_up.report("beta", 5000, {}))
    (again,) = timelines(points, made_up.out)
    assert again == folder
    assert load(folder)["steps"][-1] == 5000
    assert sorted(path.name for path in folder.parent.iterdir()) == ["toy"]


def test_a_folder_that_cannot_be_written_is_said(made_up: MadeUp) -> None:
    points = made_up.training("beta", rising(50))
    (made_up.out / "timeline").write_text("a file")
    with pytest.raises(OutputError, match="the timeline cannot be written"):
        timelines(points, made_up.out)


def test_other_records_are_refused(tmp_path: Path) -> None:
    (tmp_path / "timeline.json").write_text('{"format": "mesascope-report-3"}')
    with pytest.raises(UsageError, match="its format is not 'mesascope-timeline-1'; make the timeline again"):
        load(tmp_path)
