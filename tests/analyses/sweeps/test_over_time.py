"""The timelines of a sweep: failures, copies and what is missing have their place; any order makes the same bytes."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mesascope.analyses.sweeps.items import Item
from mesascope.analyses.sweeps.over_time import points_of, seed_of, timeline, timelines_of
from mesascope.analyses.sweeps.state import Failure, Row, State
from mesascope.analyses.sweeps.sweeping import sweep
from mesascope.analyses.timelines.saved import load
from mesascope.data.errors import UsageError
from mesascope.models.subject import Subject
from mesascope.probes.findings import Findings
from mesascope.probes.followed import Followed
from mesascope.probes.probe import Progress, silent

from ..conftest import MeanAnswer
from .families import Backwards, contents, write_family

STEPS = (0, 10, 20)


@pytest.fixture(autouse=True)
def _followed(mean_answer: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    followed = (Followed("loss", "the loss", against=1000.0, above=False),)
    found = {"mean-answer": SimpleNamespace(FOLLOWED=followed)}
    monkeypatch.setattr("mesascope.analyses.timelines.series.part", lambda probe, name: found.get(probe))


def swept(family: str, out: Path, **more: Any) -> Any:
    return sweep(family, "mean-answer", out, **{"engine": "inline", "figures": "none", **more})


def test_a_sweep_leaves_a_timeline_whatever_the_order(tmp_path: Path) -> None:
    family = write_family(tmp_path / "toy.safetensors")
    result = swept(family, tmp_path / "one")
    assert result.timelines == (tmp_path / "one" / "timeline" / "toy",)
    record = load(result.timelines[0])
    assert (record["trainings"], record["steps"]) == (["seed 0", "seed 1"], list(STEPS))
    assert record["without_report"] == []
    again = swept(family, tmp_path / "other", engine=Backwards())
    assert contents(tmp_path / "one") == contents(tmp_path / "other")
    assert again.timelines


def test_shares_leave_one_when_the_last_is_finished(tmp_path: Path) -> None:
    family = write_family(tmp_path / "toy.safetensors")
    shares = [swept(family, tmp_path / "out", shard=(i, 2)) for i in (0, 1)]
    assert sorted(len(share.timelines) for share in shares) == [0, 1]


def test_other_sweeps_into_the_folder_are_on_the_same_axis(tmp_path: Path) -> None:
    family = write_family(tmp_path / "toy.safetensors")
    swept(family, tmp_path, revisions="step{0,10}")
    (folder,) = swept(family, tmp_path, revisions="step20").timelines
    assert load(folder)["steps"] == list(STEPS)


class Fails(MeanAnswer):
    """Fails where the model is that of seed 1 at step 10."""

    def measure(self, subject: Subject, seed: int, batch_size: int, progress: Progress = silent) -> Findings:
        if (subject.source.seed, subject.source.step) == (1, 10):
            raise RuntimeError("no memory left")
        return super().measure(subject, seed, batch_size, progress)


def test_a_failed_step_is_shown_as_such(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["mean_answer_probe"], "MeanAnswer", Fails)
    family = write_family(tmp_path / "toy.safetensors")
    result = swept(family, tmp_path / "out")
    assert len(result.failed) == 1
    record = load(result.timelines[0])
    (gone,) = record["without_report"]
    assert (gone["seed"], gone["step"], gone["failed"]) == (1, 10, True)
    assert "no memory left" in gone["why"]
    curve = record["series"][0]["trainings"]["seed 1"]["curve"]
    assert curve["steps"] == list(STEPS)
    assert curve["failed"] == [False, True, False]
    assert curve["estimate"][1] is None


def test_copies_are_marked(tmp_path: Path) -> None:
    family = write_family(tmp_path / "toy.safetensors", same={"seed0/step20/": "seed0/step10/"})
    record = load(swept(family, tmp_path / "out").timelines[0])
    curve = record["series"][0]["trainings"]["seed 0"]["curve"]
    assert curve["copied"] == [False, False, True]
    assert curve["why"][2] == "the same weights as step 10"


def test_the_command_makes_it_again_also_from_reports_alone(tmp_path: Path) -> None:
    family = write_family(tmp_path / "toy.safetensors")
    (folder,) = swept(family, tmp_path / "out").timelines
    before = contents(tmp_path / "out")
    assert timeline(tmp_path / "out") == [folder]
    assert contents(tmp_path / "out") == before
    (tmp_path / "out" / ".sweep").rename(tmp_path / "notes")
    assert timeline(str(tmp_path / "out")) == [folder]
    by_reports = load(folder)
    assert by_reports["series"][0]["sentence"] == load_from(before)["series"][0]["sentence"]
    with pytest.raises(UsageError, match="no such folder"):
        timeline(tmp_path / "nothing")


def load_from(files: dict[str, bytes]) -> Any:
    return json.loads(files["timeline/toy/timeline.json"])


# -- rows become points ------------------------------------------------------------------------------------------------


def row(step: int, state: State, **more: Any) -> Row:
    return Row(Item("a/b", f"step{step}"), state, **more)


def test_what_is_not_there_says_why(tmp_path: Path) -> None:
    failure = Failure("killed", "killed by signal 9", host="h")
    rows = [
        row(1, "done", reports={"p": "place1", "q": None}),
        row(2, "failed", reports={"q": "beside"}, failure=failure),
        row(3, "pending"),
        row(4, "identical", same_as=Item("a/b", "step1")),
        Row(Item("a/b", "main"), "pending"),  # has no step
    ]
    points = points_of(tmp_path, rows)
    assert {point.model for point in points} == {"a/b"}
    found = {(p.probe, p.step): (p.folder and p.folder.name, p.why, p.failed) for p in points}
    assert found == {
        ("p", 1): ("place1", "", False),
        ("q", 1): (None, "the probe does not apply", False),
        ("p", 2): (None, "killed by signal 9", True),
        ("q", 2): ("beside", "", False),
        ("p", 3): (None, "not measured yet", False),
        ("q", 3): (None, "not measured yet", False),
        ("p", 4): ("place1", "", False),  # of the one that it is the same as, at its own step
        ("q", 4): (None, "the probe does not apply", False),
    }


def test_a_file_of_its_own_has_the_step_that_its_report_says(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = ({"sources": [{"seed": 3, "step": 700}]}, False)
    monkeypatch.setattr("mesascope.analyses.sweeps.over_time.head_of", lambda folder: head)
    (point,) = points_of(tmp_path, [Row(Item("/x/one.safetensors"), "done", {"p": "place"})])
    assert (point.seed, point.step) == (3, 700)


def test_seeds_of_revisions() -> None:
    revisions = ("seed12-step5", "seed3", "step5", None)
    assert [seed_of(Item("toy", revision)) for revision in revisions] == [12, 3, None, None]


def test_two_reports_of_one_step_end_no_sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(points: Any, out: Path) -> list[Path]:
        raise UsageError("two of them")

    said: list[str] = []
    swept(write_family(tmp_path / "toy.safetensors"), tmp_path / "out")
    monkeypatch.setattr("mesascope.analyses.sweeps.over_time.timelines", refuse)
    assert timelines_of(tmp_path / "out", said.append) == []
    assert said == ["no timeline: two of them"]
