"""Reports made again: bit-identical, or each difference by name."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from mesascope import models
from mesascope.analyses.reports import provenance, saving
from mesascope.analyses.reports.digests import ARRAYS, FIELD, TABLE, sealed
from mesascope.analyses.reports.report import Report
from mesascope.analyses.runs.differences import MOST_NAMED, Tolerance, leaves
from mesascope.analyses.runs.family import run_family
from mesascope.analyses.runs.running import run
from mesascope.analyses.runs.verifying import Verification, verify
from mesascope.data.errors import CheckpointRefused, UsageError
from safetensors.numpy import load_file, save_file

pytestmark = pytest.mark.usefixtures("mean_answer")


def write_checkpoint(path: Path, rate: float = 1.0) -> Path:
    module = models.gd_transformer(4, rate, 3)
    models.save_checkpoint(path, module.config, module.state_dict())
    return path


def write_family(path: Path, rate: float = 1.0) -> Path:
    module = models.gd_transformer(4, rate, 3)
    parameters = {
        f"seed{seed}/step{step}/{name}": tensor
        for seed in range(3)
        for step in (1, 2)
        for name, tensor in models.gd_transformer(4, rate + seed + step / 10, 3).state_dict().items()
    }
    models.save_checkpoint(path, module.config, parameters)
    return path


@pytest.fixture
def folder(mean_answer: Any, tmp_path: Path) -> Path:
    checkpoint = write_checkpoint(tmp_path / "w.safetensors")
    return run(models.load(checkpoint), mean_answer()).save(tmp_path / "out", figures="none")


@pytest.fixture
def family_folder(mean_answer: Any, tmp_path: Path) -> Path:
    answer = run_family(models.load_all(write_family(tmp_path / "fam.safetensors"), "all"), mean_answer())
    assert isinstance(answer, tuple)
    return answer[1].save(tmp_path / "out", figures="none")


def edit(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert text.count(old)
    file.write_text(text.replace(old, new, 1))


def elsewhere(folder: Path, old: str, new: str) -> None:
    """The report as a machine where this came out would have written it."""
    edit(folder / "report.json", old, new)
    record = json.loads((folder / "report.json").read_text())
    content = {name: value for name, value in record.items() if name != FIELD}
    files = {name: (folder / name).read_bytes() for name in (TABLE, ARRAYS)}
    (folder / "report.json").write_text(sealed(content, files))


@pytest.mark.parametrize("figures", ["none", "png", "paper"])
def test_the_same_machine_is_bit_identical(mean_answer: Any, tmp_path: Path, figures: str) -> None:
    checkpoint = write_checkpoint(tmp_path / "w.safetensors")
    made = run(models.load(checkpoint), mean_answer(n_tasks=30, scales=(2.0,)), seed=5, batch_size=8)
    found = verify(made.save(tmp_path / "out", figures=figures, keep_samples=10))
    assert found == Verification("bit-identical", (), "relative 1e-09, absolute 1e-12")


def test_a_family_is_bit_identical(family_folder: Path) -> None:
    assert verify(family_folder).verdict == "bit-identical"


def test_timing_does_not_matter(folder: Path) -> None:
    (folder / "timing.json").write_text('{"wall_seconds": 1e9}')
    assert verify(folder).verdict == "bit-identical"


def test_an_edited_number_is_named(folder: Path) -> None:
    edit(folder / "report.json", '"values": 0.12014950691285123', '"values": 0.97')
    found = verify(folder)
    assert found.verdict == "differs"
    assert found.differences == (
        "report.json: changed after mesascope wrote it; its SHA-256 does not fit",
        "report.json: measures.loss.values: recorded 0.97, made again 0.12014950691285123",
    )


def test_an_edit_within_the_tolerance_is_an_edit_too(folder: Path) -> None:
    edit(folder / "report.json", "0.12014950691285123", "0.12014950691285999")
    found = verify(folder)
    assert found.verdict == "differs"
    assert found.differences[0] == "report.json: changed after mesascope wrote it; its SHA-256 does not fit"


def edit_array(folder: Path) -> None:
    arrays = load_file(folder / "arrays.safetensors")
    arrays["loss"][7] += 1
    save_file(arrays, folder / "arrays.safetensors")


EDITS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "claim": (lambda f: edit(f / "report.json", "The mean answer is", "It is proven:"), "report.json: claim.found"),
    "null": (
        lambda f: edit(f / "report.json", "0.3771906632801799", "9.5"),
        "report.json: measures.answer.nulls.wide[0]",
    ),
    "settings": (lambda f: edit(f / "report.json", '"offset": 0.0', '"offset": 0.5'), "report.json: key"),
    "recipe": (lambda f: edit(f / "report.json", '"n": 64,\n', '"n": 640,\n'), "report.json: recipes.evaluation.n"),
    "more": (lambda f: edit(f / "report.json", '"sample": null', '"more": 1, "sample": null'), "report.json: more"),
    "array": (edit_array, "arrays.safetensors: loss[7]: recorded"),
    "cell": (
        lambda f: edit(f / "measures.csv", ",0.12014950691285123,", ",0.5,"),
        "measures.csv: line 4, estimate: recorded 0.5",
    ),
    "word": (lambda f: edit(f / "measures.csv", ",undefined,", ",ok,"), "measures.csv: line 11, status: recorded 'ok'"),
    "quotes": (lambda f: edit(f / "measures.csv", "\nw,", '\n"w",'), "the same values, written differently"),
    "page": (lambda f: edit(f / "report.html", "0.1201", "0.9999"), "report.html: differs from what"),
    "table": (
        lambda f: edit(f / "tables" / "measures.tex", "0.1201", "0.9999"),
        "tables/measures.tex: differs from what",
    ),
    "lost": (
        lambda f: (f / "tables" / "measures.tex").unlink(),
        "tables/measures.tex: recorded nothing, made again 'a file'",
    ),
    "added": (lambda f: (f / "notes.txt").write_text("x"), "notes.txt: recorded 'a file', made again nothing"),
}


@pytest.mark.parametrize("name", EDITS)
def test_every_kind_of_edit_is_named(folder: Path, name: str) -> None:
    change, expected = EDITS[name]
    change(folder)
    found = verify(folder)
    assert found.verdict == "differs"
    assert any(expected in line for line in found.differences), found.differences


def test_many_differences_are_counted(folder: Path) -> None:
    arrays = load_file(folder / "arrays.safetensors")
    arrays["loss"] += 1
    save_file(arrays, folder / "arrays.safetensors")
    found = verify(folder)
    assert len(found.differences) == MOST_NAMED + 1
    assert found.differences[0].startswith("arrays.safetensors: changed after mesascope wrote it")
    assert found.differences[-1] == f"and {1 + 64 - MOST_NAMED} more"


# -- other machines ---------------------------------------------------------------------------------------------------


def test_last_digits_are_within_tolerance(folder: Path) -> None:
    elsewhere(folder, "0.12014950691285123", "0.12014950691285999")
    found = verify(folder)
    assert found.verdict == "within tolerance"
    assert found.differences == (
        "report.json: measures.loss.values: recorded 0.12014950691285999, made again 0.12014950691285123",
    )


def test_tolerance_is_as_stated() -> None:
    tolerance = Tolerance(1e-6, 1e-9)
    assert str(tolerance) == "relative 1e-06, absolute 1e-09"
    assert tolerance.holds(1.0, 1.0 + 0.9e-6)
    assert not tolerance.holds(1.0, 1.0 + 1.1e-6)
    assert tolerance.holds(0.0, 0.9e-9)


def test_other_versions_are_named_and_excused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is drawn from the record, and names the versions, is then compared with what the record gives."""
    there = provenance.environment
    elsewhere = {"platform": "Plan9 mips", "commit": "b" * 40}
    monkeypatch.setattr(provenance, "environment", lambda device: {**there(device), **elsewhere})
    found = verify(folder)
    assert found.verdict == "within tolerance"
    assert len(found.differences) == 2
    assert any("provenance.environment.platform" in line for line in found.differences)
    edit(folder / "report.html", "0.1201", "0.9999")
    found = verify(folder)
    assert (found.verdict, found.differences[0]) == ("differs", "report.html: differs from what its report.json gives")


def test_other_code_with_the_same_numbers_is_excused(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(provenance, "code_sha256", lambda probe: "c" * 64)
    found = verify(folder)
    assert found.verdict == "within tolerance"
    assert {line.split(":")[1].strip() for line in found.differences} == {"key", "provenance.code_sha256"}


def test_figures_of_another_matplotlib_are_not_compared(
    mean_answer: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = write_checkpoint(tmp_path / "w.safetensors")
    folder = run(models.load(checkpoint), mean_answer()).save(tmp_path / "out", figures="png")
    elsewhere(folder, '"matplotlib": "', '"matplotlib": "0.')
    (folder / "figures" / "measures.png").write_bytes(b"other")
    found = verify(folder)
    assert found.verdict == "within tolerance"
    assert any("figures/measures.png: drawn by matplotlib 0." in line for line in found.differences)


def test_as_many_threads_as_recorded(folder: Path) -> None:
    before = torch.get_num_threads()
    elsewhere(folder, f'"threads": {before}', f'"threads": {before + 1}')
    found = verify(folder)
    assert found.differences == ("report.html: differs from what its report.json gives",)
    assert torch.get_num_threads() == before


def test_the_callers_files_are_left_alone(folder: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in folder.rglob("*")}
    verify(folder)
    assert {path: path.stat().st_mtime_ns for path in folder.rglob("*")} == before


# -- weights ----------------------------------------------------------------------------------------------------------


def test_changed_weights_are_named_and_nothing_runs(
    folder: Path, tmp_path: Path, mean_answer: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_checkpoint(tmp_path / "w.safetensors", rate=2.0)
    monkeypatch.setattr(mean_answer, "measure", None)
    found = verify(folder)
    assert found.verdict == "weights differ"
    assert found.differences[0].startswith("w: weights_sha256: the report has ")


@pytest.mark.parametrize("made", [write_checkpoint, write_family])
def test_a_copied_folder_with_weights_elsewhere(mean_answer: Any, tmp_path: Path, made: Callable[[Path], Path]) -> None:
    there = made(tmp_path / "w.safetensors")
    subjects = models.load_all(there, "all" if made is write_family else None)
    answer = run_family(subjects, mean_answer()) if len(subjects) > 1 else run(subjects[0], mean_answer())
    report = answer[1] if isinstance(answer, tuple) else answer
    assert isinstance(report, Report)
    copied = tmp_path / "somewhere else"
    shutil.copytree(report.save(tmp_path / "out", figures="none"), copied)
    (tmp_path / "else").mkdir()
    moved = there.rename(tmp_path / "else" / "renamed.safetensors")
    with pytest.raises(CheckpointRefused, match="give its place with --weights"):
        verify(copied)
    assert verify(copied, weights=moved).verdict == "bit-identical"
    assert verify(copied, weights=moved.parent).verdict == "bit-identical"
    write_checkpoint(moved, rate=7.0)
    assert verify(copied, weights=moved).verdict == "weights differ"


def test_a_shipped_checkpoint_is_found_by_its_digest(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shipped = (tmp_path / "w.safetensors").rename(tmp_path / "other.safetensors")
    for module in ("loading", "catalogue"):
        monkeypatch.setattr(f"mesascope.models.opening.{module}.shipped", lambda: {"other": shipped})
    monkeypatch.setattr("mesascope.analyses.runs.verifying.shipped", lambda: {"other": shipped})
    assert verify(folder).verdict == "bit-identical"


def test_a_changed_configuration_with_the_same_weights_differs(folder: Path, tmp_path: Path) -> None:
    config = models.gd_transformer(4, 1.0, 3, activation_clip=0.01)
    models.save_checkpoint(tmp_path / "w.safetensors", config.config, config.state_dict())
    found = verify(folder)
    assert found.verdict == "differs"
    assert any("sources[0].facts.activation_clip" in line for line in found.differences)


def test_what_was_in_memory_has_to_be_passed_again(mean_answer: Any, make_subject: Any, tmp_path: Path) -> None:
    report = run(make_subject(), mean_answer())
    folder = report.save(tmp_path, figures="none")
    with pytest.raises(UsageError, match="the report does not say how to open it"):
        verify(folder)
    assert verify(folder, subject=make_subject()).verdict == "bit-identical"
    assert verify(report, subject=make_subject()).verdict == "bit-identical"
    assert verify(folder, subject=make_subject(rate=3.0)).verdict == "weights differ"
    elsewhere = make_subject()
    elsewhere.source = replace(elsewhere.source, name="what I call it today", step=7)
    assert verify(folder, subject=elsewhere).verdict == "bit-identical"
    assert elsewhere.source.name == "what I call it today"


def test_families_in_memory(mean_answer: Any, seeds: Any, tmp_path: Path) -> None:
    answer = run_family(seeds, mean_answer())
    assert isinstance(answer, tuple)
    folder = answer[1].save(tmp_path, figures="none")
    assert verify(folder, subject=seeds[::-1]).verdict == "bit-identical"
    assert verify(folder, subject=seeds[1:]).verdict == "weights differ"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('"device": "cpu"', '"device": "tpu"', "this machine lacks"),
        ('"dtype": "float64"', '"dtype": "load"', "provenance.dtype"),
        ('"probe": "mean-answer"', '"probe": "os:system"', "is not known"),
        ('"n_tasks": 64', '"n_task": 64', "'n_task' is not known; did you mean n_tasks"),
    ],
)
def test_records_that_ask_for_something_else_are_refused(folder: Path, old: str, new: str, message: str) -> None:
    edit(folder / "report.json", old, new)
    with pytest.raises(UsageError, match=message):
        verify(folder)


def test_a_failing_disk_is_no_verdict(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(saving, "_write", full)
    with pytest.raises(UsageError, match="No space left"):
        verify(folder)


def test_leaves_are_named_by_their_path() -> None:
    a = {"x": [1, {"y": None}], "same": 1, "gone": 2, "kind": True}
    b = json.loads('{"x": [1, {"y": 3}, 4], "same": 1, "new": 5, "kind": 1}')
    places = {place for place, _, _ in leaves(a, b)}
    assert places == {"x[1].y", "x[2]", "gone", "new", "kind"}
