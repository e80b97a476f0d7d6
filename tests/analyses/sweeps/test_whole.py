"""A finished sweep, found again as a whole: without torch, and only while everything is as it was."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mesascope.analyses.commands import cli
from mesascope.analyses.sweeps import whole as module
from mesascope.analyses.sweeps.items import items_of
from mesascope.analyses.sweeps.results import SweepResult
from mesascope.analyses.sweeps.state import Failure
from mesascope.analyses.sweeps.sweeping import sweep
from mesascope.analyses.sweeps.whole import WholeSweep

from .families import write_family, write_revisions

CLEAN = {"commit": "c" * 40, "dirty": False}
PLACES = ("reports.provenance", "runs.running", "sweeps.whole")
ASKED: dict[str, Any] = {"probe": ["gd-certificate"], "settings": {}, "figures": "none"}


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    """The sources are clean, so that finished reports are found."""
    for place in PLACES:
        monkeypatch.setattr(f"mesascope.analyses.{place}.source_state", lambda: dict(CLEAN))


@pytest.fixture
def family(tmp_path: Path) -> str:
    return write_family(tmp_path / "family.safetensors", seeds=[0], steps=(0, 10))


def whole_of(family: str, out: Path, settings: Any = None, **how: Any) -> WholeSweep:
    return WholeSweep(out, {**ASKED, "settings": settings or {}}, items_of([family]), how)


@pytest.fixture
def kept(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SweepResult:
    """A sweep into `out` that was finished and noted. To draw its timeline would take a second in each test."""
    whole = whole_of(family, tmp_path / "out")
    assert whole.found() is None
    with monkeypatch.context() as undrawn:
        undrawn.setattr("mesascope.analyses.sweeps.sweeping.timelines_of", lambda *arguments: [])
        result = sweep(family, "gd-certificate", tmp_path / "out", engine="inline", figures="none")
    whole.keep(result)
    return result


def test_what_is_found_is_what_the_sweep_gave(family: str, tmp_path: Path, kept: SweepResult) -> None:
    assert len(kept.reports) == 1
    assert whole_of(family, tmp_path / "out").found() == kept


def test_copies_of_a_suite_are_found_with_what_they_are_copies_of(hub: Path, tmp_path: Path) -> None:
    model = write_revisions(hub, "owner/suite", {"step0": 1, "step8": 2, "step16": 2})
    whole = whole_of(model, tmp_path)
    result = sweep(model, "gd-certificate", tmp_path, engine="inline", figures="none")
    assert [row.state for row in result.rows] == ["done", "done", "identical"]
    assert set(result.not_applicable) == {"gd-certificate"}
    whole.keep(result)
    assert whole_of(model, tmp_path).found() == result


def a_report(out: Path) -> Path:
    return sorted(out.glob("family-*/gd-certificate/*/"))[0]


def append(path: Path) -> None:
    path.write_bytes(path.read_bytes() + b" ")


CHANGES: dict[str, Callable[[Path], object]] = {
    "report.json": lambda out: append(a_report(out) / "report.json"),
    "measures.csv": lambda out: append(a_report(out) / "measures.csv"),
    "arrays.safetensors": lambda out: append(a_report(out) / "arrays.safetensors"),
    "a file of a report is gone": lambda out: (a_report(out) / "report.html").unlink(),
    "a report is gone": lambda out: shutil.rmtree(a_report(out)),
    "the report over steps is gone": lambda out: shutil.rmtree(out / "family"),
    "the report over steps was edited": lambda out: append(next(out.glob("family/*/*/report.json"))),
    "the note is damaged": lambda out: append_to_note(out, "}"),
    "the note is gone": lambda out: shutil.rmtree(out / ".sweep" / "whole"),
    "the checkpoints were written again": lambda out: os.utime(out.parent / "family.safetensors", ns=(1, 1)),
}


def append_to_note(out: Path, text: str) -> None:
    (note,) = (out / ".sweep" / "whole").iterdir()
    note.write_text(note.read_text() + text)


@pytest.mark.parametrize("change", CHANGES)
def test_any_change_makes_the_sweep_look_at_each_item(
    change: str, family: str, tmp_path: Path, kept: SweepResult
) -> None:
    CHANGES[change](tmp_path / "out")
    assert whole_of(family, tmp_path / "out").found() is None


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("source_state", lambda: {**CLEAN, "dirty": True}),
        ("source_state", lambda: {**CLEAN, "commit": "d" * 40}),
        ("all_sources_sha256", lambda: "other sources"),
        ("registered", lambda: {"a probe": "that was installed since"}),
    ],
)
def test_other_sources_find_nothing(
    place: str, value: Any, family: str, tmp_path: Path, kept: SweepResult, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, place, value)
    assert whole_of(family, tmp_path / "out").found() is None


def test_another_request_is_another_sweep(family: str, tmp_path: Path, kept: SweepResult) -> None:
    out = tmp_path / "out"
    assert whole_of(family, out, {"n": 3}).found() is None
    assert whole_of(family, out, dtype="float32").found() is None
    assert WholeSweep(out, ASKED, items_of([family])[:1], {}).found() is None
    assert whole_of(family, out).found() == kept


def test_files_that_settings_name_count_by_their_content(family: str, tmp_path: Path, kept: SweepResult) -> None:
    given = tmp_path / "text.txt"
    paths = []
    for content in ("one", "two", "one"):
        given.write_text(content)
        paths.append(whole_of(family, tmp_path / "out", {"text": str(given)}).path)
    assert paths[0] == paths[2] != paths[1]
    assert whole_of(family, tmp_path / "out", {"uniform": "owner/model"}).path is None, "who knows what that holds"


def test_what_is_not_finished_is_not_noted(family: str, tmp_path: Path, kept: SweepResult) -> None:
    first, *rest = kept.rows
    others = {
        "failed": replace(kept, rows=(replace(first, state="failed", failure=Failure("error", "why")), *rest)),
        "pending": replace(kept, rows=(replace(first, state="pending", reports={}), *rest)),
        "of another package": replace(kept, rows=(replace(first, reports={"their-probe": None}), *rest)),
    }
    for result in others.values():
        whole = whole_of(family, tmp_path / "out", {"n": 3})
        whole.keep(result)
        assert whole.found() is None


def test_a_timeline_is_part_of_it(family: str, tmp_path: Path) -> None:
    out, whole = tmp_path / "out", whole_of(family, tmp_path / "out")
    result = sweep(family, "gd-certificate", out, engine="inline", figures="none")
    assert len(result.timelines) == 1
    whole.keep(result)
    assert whole.found() == result
    append(result.timelines[0] / "timeline.json")
    assert whole.found() is None


def test_the_command_finds_a_finished_sweep_without_torch(
    family: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """And says the same, byte by byte, in a process of its own."""
    words = [
        "sweep",
        family,
        "-p",
        "gd-certificate",
        "--figures",
        "none",
        "--engine",
        "inline",
        "-o",
        str(tmp_path / "o"),
    ]
    assert cli.main(words) == 0
    said = capsys.readouterr().out
    code = f"""if True:
        import sys
        from mesascope.analyses.sweeps import whole
        whole.source_state = lambda: {CLEAN!r}
        from mesascope.analyses.commands.cli import main
        code = main({words!r})
        assert not {{"torch", "scipy", "matplotlib"}} & set(sys.modules)
        sys.exit(code)
    """
    again = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=False)
    assert (again.returncode, again.stdout) == (0, said), again.stderr
    assert cli.main([*words, "--json"]) == 0


def test_a_share_leaves_no_note_of_the_whole(family: str, tmp_path: Path) -> None:
    """It has not looked at what others measured, which other sources may have made."""
    words = ["sweep", family, "-p", "gd-certificate", "--figures", "none", "-q", "-o", str(tmp_path / "o")]
    assert cli.main([*words, "--shard", "0/1"]) == 0
    assert not (tmp_path / "o" / ".sweep" / "whole").exists()
    assert cli.main([*words, "--engine", "inline"]) == 0
    assert len(list((tmp_path / "o" / ".sweep" / "whole").iterdir())) == 1
