"""Reproductions that ship: what is taken over of a folder of results, and what the guide shows of it."""

from __future__ import annotations

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

SITE = Path(__file__).resolve().parents[1] / "docs" / "site"
with pytest.MonkeyPatch.context() as patch:
    patch.syspath_prepend(str(SITE))
    reproductions = import_module("reproductions")

VERDICTS = "| Figure | What it claims | Verdict | Size |\n|---|---|---|---|\n| 9 | A | reproduced | full |\n"


def reproduced(folder: Path, page: str = "<p>") -> Path:
    folder.mkdir()
    texts = {
        "index.html": page, "verdicts.md": VERDICTS, "verdicts.csv": "figure", "figure-09.json": '{"paper": "a-2023"}',
        "figure-09.pdf": "%PDF", "figure-09-column.pdf": "%PDF", "figure-09.csv": "at", "figure-09.png": "p",
        "figure-09.svg": "s", "notes.txt": "mine",
    }  # fmt: skip
    for name, text in texts.items():
        (folder / name).write_text(text)
    (folder / "reports").mkdir()
    return folder


def test_a_folder_of_results_replaces_those_that_shipped_without_pictures_and_reports(tmp_path: Path) -> None:
    old = tmp_path / "shipped" / "a-2023"
    old.mkdir(parents=True)
    (old / "figure-01.pdf").write_text("old")
    assert reproductions.ship(reproduced(tmp_path / "out"), tmp_path / "shipped") == old
    assert sorted(path.name for path in old.iterdir()) == [
        "figure-09-column.pdf", "figure-09.csv", "figure-09.json", "figure-09.pdf", "index.html", "verdicts.csv",
        "verdicts.md",
    ]  # fmt: skip


def test_what_is_too_large_or_no_reproduction_does_not_ship(tmp_path: Path) -> None:
    out = reproduced(tmp_path / "out", page="x" * reproductions.MOST_BYTES)
    with pytest.raises(ValueError, match=r"5,000,\d+ bytes would ship; expected at most 5,000,000"):
        reproductions.ship(out, tmp_path / "shipped")
    with pytest.raises(ValueError, match="holds no reproduction; expected what `mesascope reproduce"):
        reproductions.ship(tmp_path, tmp_path / "shipped")
    assert not (tmp_path / "shipped").exists()
    called = subprocess.run(
        [sys.executable, SITE / "reproductions.py", tmp_path], capture_output=True, text=True, check=False
    )
    assert called.returncode == 1
    assert "holds no reproduction" in called.stderr


def test_the_guide_shows_verdicts_whose_figures_lead_to_the_page(tmp_path: Path) -> None:
    reproductions.ship(reproduced(tmp_path / "out"), tmp_path)
    guide = reproductions.shown(f"Before\n\n{reproductions.MARKER}\n\nAfter", tmp_path)
    assert "| [9](reproductions/a-2023/index.html#figure-09) | A | reproduced | full |" in guide
    assert "[All figures and numbers of a-2023](reproductions/a-2023/index.html)." in guide
    assert guide.startswith("Before\n\n| Figure |")
    assert reproductions.MARKER not in guide
    assert reproductions.shown(reproductions.MARKER, tmp_path / "none") == ""


def test_the_guide_asks_for_them_and_those_that_ship_are_small() -> None:
    guide = (SITE.parent / reproductions.GUIDE).read_text(encoding="utf-8")
    assert guide.count(reproductions.MARKER) == 1
    for folder in reproductions.SHIPPED.glob("*/"):
        assert sum(path.stat().st_size for path in folder.iterdir()) <= reproductions.MOST_BYTES
        linked = re.findall(r"index\.html#(figure-\d+)", reproductions.shown(reproductions.MARKER))
        page = (folder / "index.html").read_text(encoding="utf-8")
        assert all(f'id="{anchor}"' in page for anchor in linked)
