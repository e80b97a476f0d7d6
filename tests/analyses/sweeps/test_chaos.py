"""A sweep whose worker and driver are killed, as real processes. `benchmarks/sweep_chaos.py` does it at length."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from mesascope.analyses.reports.code import PACKAGE
from mesascope.analyses.sweeps.state import status
from mesascope.analyses.sweeps.sweeping import sweep

from .families import contents, write_family

COMMIT = "c" * 40
ENTRY = "import sys; from mesascope.analyses.commands.cli import main; sys.exit(main())"
STEPS = range(0, 120, 10)


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """In which processes take the sources for those of a commit, so that they find finished reports again."""
    git = tmp_path / "bin" / "git"
    git.parent.mkdir()
    git.write_text(f"#!/bin/sh\ncase \"$*\" in *rev-parse*) printf '%s\\n%s\\n' '{PACKAGE}' {COMMIT};; esac\n")
    git.chmod(0o755)
    return {**os.environ, "PATH": f"{git.parent}:{os.environ['PATH']}"}


def workers_of(driver: int) -> list[int]:
    """Processes of a driver that are not the one that Python keeps beside them."""
    children = Path(f"/proc/{driver}/task/{driver}/children").read_text().split()
    commands = {int(pid): Path(f"/proc/{pid}/cmdline").read_bytes() for pid in children}
    return [pid for pid, command in commands.items() if b"spawn_main" in command]


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def finished(out: Path) -> dict[Path, int]:
    """When each report was written, without those that are just being written."""
    return {path: path.stat().st_mtime_ns for path in out.glob("family-*/*/[0-9a-f]*/report.json")}


def wait_for(number: int, out: Path, driver: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + 120
    while len(finished(out)) < number:
        assert driver.poll() is None
        assert time.monotonic() < end
        time.sleep(0.01)


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="reads /proc")
def test_kills_change_no_byte_and_cost_no_finished_report(
    tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    family, out = write_family(tmp_path / "family.safetensors", seeds=[0], steps=STEPS), tmp_path / "disturbed"
    words = ["sweep", family, "-p", "gd-certificate", "--figures", "none", "--workers", "1", "-q", "-o", str(out)]

    def begun() -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, "-P", "-c", ENTRY, *words], env=environment, start_new_session=True)

    driver = begun()
    try:
        wait_for(2, out, driver)
        os.kill(workers_of(driver.pid)[0], signal.SIGKILL)
        wait_for(len(finished(out)) + 2, out, driver)
        workers = workers_of(driver.pid)
        driver.kill()
        driver.wait(10)
        assert workers
        end = time.monotonic() + 20  # they look each 0.3 s, where a processor is free
        while any(map(alive, workers)):
            assert time.monotonic() < end, "a worker outlives its driver"
            time.sleep(0.05)
        before = finished(out)
        assert 4 <= len(before) < len(STEPS)
        driver = begun()
        assert driver.wait(240) == 0
    finally:
        driver.kill()
        driver.wait(10)
    after = finished(out)
    assert {path: after[path] for path in before} == before, "no finished report is made again"
    undisturbed(family, tmp_path / "undisturbed", monkeypatch)
    found = contents(out)
    del found["index.html"]  # the command writes it
    assert found == contents(tmp_path / "undisturbed")
    assert not list(out.rglob(".mesascope*"))


def test_two_sweeps_at_once_into_one_folder(
    tmp_path: Path, environment: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """They may do some work twice. No result differs, and the plan has what both were asked for."""
    family, out = write_family(tmp_path / "family.safetensors", seeds=[0], steps=STEPS[:4]), tmp_path / "both"
    words = ["sweep", family, "-p", "gd-certificate", "--figures", "none", "--engine", "inline", "-q", "-o", str(out)]
    asked = [["--revisions", "step{0,10,20}"], ["--revisions", "step{10,20,30}"]]
    line = [sys.executable, "-P", "-c", ENTRY, *words]
    drivers = [subprocess.Popen([*line, *more], env=environment, stdout=subprocess.DEVNULL) for more in asked]
    assert [driver.wait(240) for driver in drivers] == [0, 0]
    assert sorted(str(row.item.revision) for row in status(out)) == [f"seed0-step{step}" for step in STEPS[:4]]
    assert {row.state for row in status(out)} == {"done"}
    for _, revisions in asked:
        undisturbed(family, tmp_path / "one by one", monkeypatch, revisions)
    found, expected = contents(out), contents(tmp_path / "one by one")
    assert {name: expected.get(name) for name in found} == {**found, "index.html": None}
    assert not list(out.rglob(".mesascope*"))


def undisturbed(family: str, out: Path, monkeypatch: pytest.MonkeyPatch, revisions: str = "") -> Any:
    """The same sweep in this process."""
    for place in ("reports.provenance", "runs.running"):
        monkeypatch.setattr(f"mesascope.analyses.{place}.source_state", lambda: {"commit": COMMIT, "dirty": False})
    return sweep(family, "gd-certificate", out, revisions, engine="inline", figures="none")
