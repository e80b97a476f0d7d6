"""What stays on the disk when several processes write at once, and when one is stopped."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mesascope.analyses.reports.report import Report
from mesascope.analyses.reports.saving import made_folder, publish, publish_files

RACE = """
import json, random, sys, time
from pathlib import Path
from mesascope.analyses.reports import saving

me, times = int(sys.argv[2]), int(sys.argv[3])
final = Path(sys.argv[1], "model", "probe", "key")
random.seed(me)


def paused(function):
    def call(*arguments, **named):
        time.sleep(random.choice([0, 0.0005, 0.002]))
        try:
            return function(*arguments, **named)
        finally:
            time.sleep(random.choice([0, 0.0005, 0.002]))
    return call


# between any two lines of a rename that may lose the race
for place, name in [(saving.os, "rename"), (saving, "same_files"), (saving.shutil, "rmtree"), (saving.Path, "mkdir"),
                    (saving.Path, "rmdir")]:
    setattr(place, name, paused(getattr(place, name)))


def fill(folder):
    for part in "ab":
        (folder / part).write_text(f"{me} {n % 3}")


while not Path(sys.argv[1], "go").exists():
    time.sleep(0.001)
for n in range(times):
    if n % 3 == 0:  # both give up here and there, and take away the folders that the other is about to use
        try:
            saving.publish(Path(sys.argv[1], "given up", "probe", "key"), lambda folder: 1 / 0)
        except ZeroDivisionError:
            pass
    saving.publish(final, fill)
    saving.clear_leftovers(Path(sys.argv[1]))
print(json.dumps(n + 1))
"""


def entries(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_two_processes_save_the_same_report_two_hundred_times(tmp_path: Path) -> None:
    """With pauses between the lines, so that each finds what the other has just moved away."""
    lines = [[sys.executable, "-c", RACE, str(tmp_path), str(me), "200"] for me in range(2)]
    started = [subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for line in lines]
    (tmp_path / "go").touch()
    for process in started:
        out, err = process.communicate(timeout=600)
        assert (process.returncode, err) == (0, "")
        assert json.loads(out) == 200
    final = tmp_path / "model" / "probe" / "key"
    assert entries(tmp_path / "model") == ["probe", "probe/key", "probe/key/a", "probe/key/b"]
    assert (final / "a").read_text() == (final / "b").read_text(), "parts of two reports in one folder"


def test_a_folder_that_goes_while_it_is_looked_at_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process takes it away between the answer that it exists and the question what it is."""
    folder, looked = tmp_path / "given up", []
    is_dir = Path.is_dir

    def gone(path: Path) -> bool:
        if path == folder and not looked:
            looked.append(path)
            folder.rmdir()
        return is_dir(path)

    monkeypatch.setattr(Path, "is_dir", gone)
    folder.mkdir()
    with made_folder(folder):
        assert folder.exists()
    assert looked == [folder]


def test_a_file_in_the_way_of_a_folder_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    with pytest.raises(FileExistsError), made_folder(tmp_path / "taken"):
        pass
    assert (tmp_path / "taken").is_file()


def test_folders_that_were_made_for_nothing_go_again(tmp_path: Path) -> None:
    (tmp_path / "there").mkdir()

    def fail(folder: Path) -> None:
        (folder / "half").write_text("half a file")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        publish(tmp_path / "there" / "model" / "probe" / "key", fail)
    assert entries(tmp_path) == ["there"]
    with made_folder(tmp_path / "there"):
        pass
    assert entries(tmp_path) == ["there"], "it was there before"
    with made_folder(tmp_path / "a" / "b"):
        (tmp_path / "a" / "of somebody else").touch()
    assert entries(tmp_path) == ["a", "a/of somebody else", "there"]


def test_a_folder_that_nobody_can_make_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError), made_folder(Path("/proc/no-such/folder")):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="file"), made_folder(tmp_path / "file" / "below"):
        pass


def test_files_come_all_or_none_and_others_stay(tmp_path: Path) -> None:
    (tmp_path / "figures").mkdir()
    (tmp_path / "figures" / "mine.pdf").write_text("mine")
    (tmp_path / "figures" / "a.pdf").write_text("old")

    def fill(folder: Path, fail: bool = False) -> list[Path]:
        (folder / "figures").mkdir()
        for name in ("a.pdf", "b.pdf"):
            (folder / "figures" / name).write_text("new")
            if fail:
                raise KeyboardInterrupt
        return sorted((folder / "figures").iterdir())

    with pytest.raises(KeyboardInterrupt):
        publish_files(tmp_path, lambda folder: fill(folder, fail=True))
    assert entries(tmp_path) == ["figures", "figures/a.pdf", "figures/mine.pdf"]
    assert (tmp_path / "figures" / "a.pdf").read_text() == "old"
    moved = publish_files(tmp_path, fill)
    assert moved == [tmp_path / "figures" / "a.pdf", tmp_path / "figures" / "b.pdf"]
    assert [path.read_text() for path in moved] == ["new", "new"]
    assert (tmp_path / "figures" / "mine.pdf").read_text() == "mine"


DRAWING = """
import os, signal, sys
from mesascope.analyses.commands import cli
from mesascope.probes.drawing import page

save = page.save


def stopped_while_tidying(figure, stem, formats):
    save(figure, stem, formats[:1])
    try:
        os.kill(os.getpid(), int(sys.argv[1]))
        return save(figure, stem, formats)
    finally:
        raise ValueError("Invalid bounding box")  # as a library does whose figure is half drawn


signal.signal(signal.SIGINT, signal.default_int_handler)
page.save = stopped_while_tidying
sys.exit(cli.main(sys.argv[2:]))
"""


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_drawing_ends_cleanly(
    mean_answer: Any, make_subject: Any, tmp_path: Path, number: int, code: int
) -> None:
    """Also where a library raises an error of its own on the way out."""
    from mesascope.analyses import run

    report = run(make_subject(), mean_answer())
    assert isinstance(report, Report)
    folder = report.save(tmp_path / "reports", figures="none")
    line = [sys.executable, "-P", "-c", DRAWING, str(int(number)), "figures", str(folder)]
    line += ["--output-dir", str(tmp_path / "drawn" / "here")]
    ended = subprocess.run(line, capture_output=True, text=True, timeout=120)
    assert (ended.returncode, ended.stdout) == (code, "")
    assert ended.stderr.count("\n") == 1
    assert ended.stderr.startswith(f"mesascope: {'interrupted' if code == 130 else 'terminated'}")
    assert not (tmp_path / "drawn").exists()
