"""`mesascope timeline`, and what `mesascope sweep` prints of it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from mesascope.analyses.commands import cli, timeline_command
from mesascope.analyses.runs.running import run
from mesascope.analyses.timelines import series
from mesascope.probes.followed import Followed


@pytest.fixture(autouse=True)
def _followed(monkeypatch: pytest.MonkeyPatch) -> None:
    found = SimpleNamespace(FOLLOWED=(Followed("loss", "the loss", against=1000.0, above=False),))
    monkeypatch.setattr(series, "part", lambda probe, name: found)


@pytest.fixture
def folder(mean_answer: Any, make_subject: Any, tmp_path: Path) -> Path:
    """Two steps of a model."""
    for step in (2, 10):
        made = run(make_subject(1 + step, step=step, seed=0, revision=f"step{step}"), mean_answer())
        made.save(tmp_path / "out", figures="none")
    return tmp_path / "out"


def test_it_prints_a_sentence_for_each_onset_and_where_the_page_is(folder: Path, capsys: Any) -> None:
    assert cli.main(["timeline", str(folder)]) == 0
    said, where = capsys.readouterr().out.splitlines()
    assert said.startswith("- mean-answer: the loss has begun at step 2, the first that was measured; one seed")
    assert where == f"built over time: {folder / 'timeline' / 'built' / 'timeline.html'}"
    assert cli.main(["timeline", str(folder), "-q"]) == 0
    assert capsys.readouterr().out == f"{folder / 'timeline' / 'built'}\n"
    assert cli.main(["timeline", str(folder), "--json"]) == 0
    (record,) = json.loads(capsys.readouterr().out).values()
    assert record["steps"] == [2, 10]


def test_many_pairs_are_left_to_the_page(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    made = timeline_command.load
    order = [f"{i} before {i + 1}." for i in range(timeline_command.MOST_PAIRS + 2)]
    many = {"onsets": ["One."], "order": order}
    monkeypatch.setattr(timeline_command, "load", lambda place: {**made(place), "sentences": many})
    assert cli.main(["timeline", str(folder)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:-2] == [f"- {sentence}" for sentence in order[:-2]]
    assert lines[-2] == "- The page has the order of 2 more pairs."


def test_what_has_no_timeline_is_said(folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any) -> None:
    assert cli.main(["timeline", str(folder / "nothing")]) == 2
    assert "no such folder" in capsys.readouterr().err
    monkeypatch.setattr(series, "part", lambda probe, name: None)
    assert cli.main(["timeline", str(folder)]) == 2
    assert "no measure that a probe follows was measured at two steps or more" in capsys.readouterr().err
    assert not (folder / "timeline").exists()


def test_it_is_no_report_to_the_other_commands(folder: Path, capsys: Any) -> None:
    assert cli.main(["show", str(folder), "--json"]) == 0
    before = json.loads(capsys.readouterr().out)
    assert cli.main(["timeline", str(folder), "-q"]) == 0
    capsys.readouterr()
    assert cli.main(["show", str(folder), "--json"]) == 0
    assert json.loads(capsys.readouterr().out) == before
    assert cli.main(["show", str(folder / "timeline" / "built")]) == 2


NO_TORCH = """if True:
    import sys
    from types import SimpleNamespace
    from mesascope.analyses.commands import cli
    from mesascope.analyses.timelines import series
    from mesascope.probes.followed import Followed
    series.part = lambda probe, name: SimpleNamespace(FOLLOWED=(Followed("loss", "the loss", against=0.0),))
    assert cli.main(sys.argv[1:]) == 0
    assert "torch" not in sys.modules
"""


def test_it_needs_no_torch(folder: Path) -> None:
    line = [sys.executable, "-P", "-c", NO_TORCH, "timeline", str(folder)]
    assert subprocess.run(line, check=False, capture_output=True).returncode == 0
    assert (folder / "timeline" / "built" / "timeline.png").exists()


def test_help_says_what_it_takes(capsys: Any) -> None:
    assert cli.main(["timeline", "--help"]) == 0
    assert "on one time axis" in " ".join(capsys.readouterr().out.split())
