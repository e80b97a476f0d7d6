"""Edits of a saved report are noticed, whatever was edited; another layout of the same JSON is none."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mesascope.analyses.reports.digests import edit_notice, untouched
from mesascope.analyses.reports.report import Report
from mesascope.analyses.runs.running import run
from safetensors.numpy import load_file, save_file


@pytest.fixture
def folder(mean_answer: Any, make_subject: Any, tmp_path: Path) -> Path:
    return run(make_subject(), mean_answer()).save(tmp_path / "out", figures="none")


def change(edit: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    """An edit of what report.json says, written out as other programs would."""

    def changed(folder: Path) -> None:
        record = json.loads((folder / "report.json").read_text())
        edit(record)
        (folder / "report.json").write_text(json.dumps(record))

    return changed


def in_place(file: str, old: str, new: str) -> Callable[[Path], None]:
    def changed(folder: Path) -> None:
        text = (folder / file).read_text()
        assert old in text
        (folder / file).write_text(text.replace(old, new, 1))

    return changed


def one_raw_value(folder: Path) -> None:
    arrays = load_file(folder / "arrays.safetensors")
    arrays["loss"][3] = np.nextafter(arrays["loss"][3], 9)
    save_file(arrays, folder / "arrays.safetensors")


def test_the_digests_are_those_of_the_files(folder: Path) -> None:
    record = json.loads((folder / "report.json").read_text())
    digests = record.pop("sha256")
    for name in ("measures.csv", "arrays.safetensors"):
        assert digests[name] == hashlib.sha256((folder / name).read_bytes()).hexdigest()
    before = (folder / "report.json").read_text().split(',\n  "sha256"')[0]
    assert digests["report.json"] == hashlib.sha256(f"{before}\n}}".encode()).hexdigest()
    assert json.loads(f"{before}\n}}") == record, "all but the digests"
    assert untouched((folder / "report.json").read_text())
    assert Report.load(folder).edited == ()


EDITS: dict[str, tuple[str, Callable[[Path], None]]] = {
    "a number": ("report.json", change(lambda r: r["measures"]["answer"].update(values=0.5))),
    "its last digit": ("report.json", in_place("report.json", "0.12014950691285123", "0.12014950691285124")),
    "an interval": ("report.json", change(lambda r: r["measures"]["loss"]["interval"].update(low=0.01))),
    "a null sample": ("report.json", change(lambda r: r["measures"]["answer"]["nulls"]["wide"].pop())),
    "the claim": ("report.json", in_place("report.json", "The mean answer is", "It is proven:")),
    "a blank in the claim": ("report.json", in_place("report.json", "The mean", "The  mean")),
    "a verdict": ("report.json", change(lambda r: r["heads"].update(L0H0="loud"))),
    "a setting": ("report.json", change(lambda r: r["settings"].update(offset=0.1))),
    "where weights came from": ("report.json", change(lambda r: r["sources"][0].update(weights_sha256="0" * 64))),
    "something more": ("report.json", change(lambda r: r.update(more=1))),
    "the digest": ("report.json", change(lambda r: r["sha256"].update({"report.json": "0" * 64}))),
    "the digest taken away": ("report.json", change(lambda r: r["sha256"].pop("report.json"))),
    "all digests taken away": ("report.json", change(lambda r: r.pop("sha256"))),
    "digests of another kind": ("report.json", change(lambda r: r.update(sha256=["0" * 64]))),
    "a cell of the table": ("measures.csv", in_place("measures.csv", ",0.12014950691285123,", ",0.5,")),
    "a raw value": ("arrays.safetensors", one_raw_value),
}


@pytest.mark.parametrize("name", EDITS)
def test_every_edit_is_noticed(folder: Path, name: str) -> None:
    file, edit = EDITS[name]
    edit(folder)
    assert Report.load(folder).edited == (file,)
    assert untouched((folder / "report.json").read_text()) == (file != "report.json")


def test_another_layout_of_the_same_numbers_is_no_edit(folder: Path) -> None:
    record = json.loads((folder / "report.json").read_text())
    for words in ({}, {"indent": 4}, {"separators": (",", ":"), "ensure_ascii": False}):
        (folder / "report.json").write_text(json.dumps(record, **words), encoding="utf-8")
        assert Report.load(folder).edited == ()


def test_a_table_that_is_missing_is_no_edit(folder: Path) -> None:
    (folder / "measures.csv").unlink()
    assert Report.load(folder).edited == ()


def test_saving_again_does_not_wash_an_edit_away(folder: Path, tmp_path: Path) -> None:
    change(lambda r: r["measures"]["answer"].update(values=0.5))(folder)
    again = Report.load(folder).save(tmp_path / "again", figures="none")
    assert Report.load(again).edited == ("report.json",)


def test_a_table_is_right_again_once_the_report_is_saved(folder: Path, tmp_path: Path) -> None:
    EDITS["a cell of the table"][1](folder)
    again = Report.load(folder).save(tmp_path / "again", figures="none")
    assert Report.load(again).edited == ()


def test_the_notice_names_the_files() -> None:
    assert edit_notice(Path("here"), ("report.json",)) == (
        "here: report.json was changed after mesascope wrote it (the SHA-256 digest does not fit)"
    )
    several = edit_notice(Path("here"), ("report.json", "measures.csv"))
    assert "report.json and measures.csv were changed after mesascope wrote them" in several
