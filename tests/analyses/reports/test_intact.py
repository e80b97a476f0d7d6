"""A report that nobody changed is recognised without its numbers being read, and every change is left to the reader."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mesascope.analyses.reports.digests import ARRAYS, REPORT, TABLE
from mesascope.analyses.reports.intact import made_with
from mesascope.analyses.reports.record import Record
from mesascope.analyses.runs.running import run

Edit = Callable[[Path], None]


@pytest.fixture
def folder(mean_answer: Any, make_subject: Any, tmp_path: Path) -> Path:
    return run(make_subject(), mean_answer(n_tasks=16)).save(tmp_path, "none")


def replaced(name: str, old: str, new: str) -> Edit:
    def edit(folder: Path) -> None:
        text = (folder / name).read_text()
        assert old in text
        (folder / name).write_text(text.replace(old, new, 1))

    return edit


def flipped(folder: Path) -> None:
    content = bytearray((folder / ARRAYS).read_bytes())
    content[-1] ^= 1
    (folder / ARRAYS).write_bytes(content)


def laid_out_anew(folder: Path) -> None:
    (folder / REPORT).write_text(json.dumps(json.loads((folder / REPORT).read_text())))


def without_digest(folder: Path) -> None:
    record = json.loads((folder / REPORT).read_text())
    replaced(REPORT, f'"{record["sha256"][ARRAYS]}"', "null")(folder)


CHANGES: dict[str, Edit] = {
    "a word": replaced(REPORT, "We averaged answers.", "We guessed."),
    "a number": replaced(TABLE, "undefined", "ok"),
    "a bit of the raw values": flipped,
    "the layout": laid_out_anew,
    "the sources' state": replaced(REPORT, '"dirty": ', '"dirty": 0 == '),
    "the format": replaced(REPORT, "mesascope-report-3", "mesascope-report-2"),
    "no digest of the raw values": without_digest,
    "no digests": replaced(REPORT, '"sha256": {', '"sha": {'),
    "no raw values": lambda folder: (folder / ARRAYS).unlink(),
    "no table": lambda folder: (folder / TABLE).unlink(),
    "no report": lambda folder: (folder / REPORT).unlink(),
    "half of it": lambda folder: (folder / REPORT).write_text((folder / REPORT).read_text()[:2000]),
    "another language": lambda folder: (folder / REPORT).write_bytes(b"\xff\xfe"),
}


def test_the_provenance_of_what_nobody_changed(folder: Path) -> None:
    report = Record.load(folder)
    assert report.edited == ()
    assert made_with(folder) == report.provenance


@pytest.mark.parametrize("change", CHANGES)
def test_whatever_changed_is_looked_at_more_closely(change: str, folder: Path) -> None:
    CHANGES[change](folder)
    assert made_with(folder) is None


def test_no_torch_is_imported() -> None:
    code = """if True:
        import sys
        from mesascope.analyses.reports import code, intact
        from mesascope.analyses.sweeps import whole
        assert len(code.all_sources_sha256()) == 64
        assert not {"torch", "transformers", "pandas", "matplotlib", "scipy"} & set(sys.modules)
    """
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0
