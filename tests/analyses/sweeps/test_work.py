"""One item of a sweep: opened at most once, never for what is finished; what goes wrong comes back as text."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from mesascope import models
from mesascope.analyses.reports.report import Report
from mesascope.analyses.reports.saving import same_files
from mesascope.analyses.runs.running import run
from mesascope.analyses.sweeps import work as module
from mesascope.analyses.sweeps.engines import EngineSettings, local
from mesascope.analyses.sweeps.finding import finished_item
from mesascope.analyses.sweeps.items import Item
from mesascope.analyses.sweeps.state import SweepFolder
from mesascope.analyses.sweeps.tasks import ItemTask
from mesascope.analyses.sweeps.work import work
from mesascope.data.errors import CheckpointRefused

CLEAN = {"commit": "c" * 40, "dirty": False}


@dataclass
class Opened:
    """How often checkpoints were opened."""

    times: int = 0


@pytest.fixture(autouse=True)
def opened(monkeypatch: pytest.MonkeyPatch, mean_answer: Any) -> Iterator[Opened]:
    """The sources are clean, so that finished reports are found."""
    for place in ("reports.provenance", "runs.running"):
        monkeypatch.setattr(f"mesascope.analyses.{place}.source_state", lambda: dict(CLEAN))
    count = Opened()

    def counted(*arguments: Any, **how: Any) -> Any:
        count.times += 1
        return models.load_all(*arguments, **how)

    monkeypatch.setattr("mesascope.analyses.sweeps.opening.load_all", counted)
    return count


@pytest.fixture
def family(tmp_path: Path) -> str:
    """A file with two steps of one seed."""
    return write_family(tmp_path / "family.safetensors", rates=(0.5, 1.0))


def write_family(path: Path, rates: tuple[float, ...]) -> str:
    made = [models.gd_transformer(4, rate, 3) for rate in rates]
    tensors = {f"seed0/step{k}/{name}": t for k, one in enumerate(made) for name, t in one.state_dict().items()}
    models.save_checkpoint(path, made[0].config, tensors)
    return str(path)


def task_of(model: str, out: Path, revision: str | None = "seed0-step1", **more: Any) -> ItemTask:
    probes = more.pop("probes", (("mean-answer", {"n_tasks": 16}),))
    return ItemTask(Item(model, revision), probes, str(out), "asked", **{"figures": "none", **more})


def test_what_is_finished_is_found_without_opening_anything(
    family: str, tmp_path: Path, opened: Opened, mean_answer: Any
) -> None:
    out = tmp_path / "out"
    task = task_of(family, out, seed=2, batch_size=7)
    assert finished_item(task) is None
    first = work(task)
    assert (first.found, first.made, first.error, opened.times) == (0, 1, None, 1)
    # the report is the one that run makes of the checkpoint
    report = run(models.load(family, "seed0-step1"), mean_answer(n_tasks=16), seed=2, batch_size=7)
    assert first.reports == {"mean-answer": report.folder.as_posix()}
    assert same_files(out / report.folder, report.save(tmp_path / "by-run", "none"))
    assert SweepFolder(out).reports_of(task.item, "asked") == first.reports
    for again in (work(task), finished_item(task)):
        assert again == replace(first, found=1, made=0)
    assert opened.times == 1


def test_without_the_notes_it_is_opened_and_found(family: str, tmp_path: Path, opened: Opened) -> None:
    out = tmp_path / "out"
    first = work(task_of(family, out))
    shutil.rmtree(out / ".sweep")
    assert finished_item(task_of(family, out)) is None
    assert work(task_of(family, out)) == replace(first, found=1, made=0)
    assert opened.times == 2
    assert finished_item(task_of(family, out)) is not None


@pytest.mark.parametrize(
    "changed", [{"seed": 1}, {"batch_size": 5}, {"dtype": "float32"}, {"revision": "seed0-step0"}, {"force": True}]
)
def test_what_is_asked_otherwise_is_measured(
    family: str, tmp_path: Path, opened: Opened, changed: dict[str, Any]
) -> None:
    out = tmp_path / "out"
    first, other = task_of(family, out), task_of(family, out, **changed)
    results = [work(first), work(other)]
    assert [(result.found, result.made) for result in results] == [(0, 1), (0, 1)]
    assert (results[0].reports == results[1].reports) == ("force" in changed)
    assert opened.times == 2
    assert finished_item(first) == replace(results[0], found=1, made=0)
    assert (finished_item(other) is None) == ("force" in changed)


def test_a_file_that_was_replaced_is_another_checkpoint(family: str, tmp_path: Path) -> None:
    task = task_of(family, tmp_path / "out")
    first = work(task)
    write_family(Path(family), rates=(0.5, 3.0))
    os.utime(family, ns=(1, 1))  # the two may have been written within one tick of the clock
    assert finished_item(task) is None
    assert work(task).reports != first.reports


def test_a_probe_that_does_not_apply_says_so_again_without_opening(family: str, tmp_path: Path, opened: Opened) -> None:
    probes = (("mean-answer", {"refuse": "no labels"}), ("mean-answer", {"n_tasks": 16}))
    for chosen, found in ((probes[:1], 0), (probes[1:], 1)):
        task = task_of(family, tmp_path / "out", probes=chosen)
        result = work(task)
        assert result.made == found
        assert finished_item(task) == replace(result, made=0, found=found)
    refused = finished_item(task_of(family, tmp_path / "out", probes=probes[:1]))
    assert refused is not None
    assert (refused.reports, refused.not_applicable) == ({"mean-answer": None}, {"mean-answer": "no labels"})
    assert opened.times == 2


def test_a_probe_that_fails_stops_no_other(
    family: str, tmp_path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch, mean_answer: Any
) -> None:
    probes = (("gd-alignment", {"limit": 20}), ("mean-answer", {"n_tasks": 16}))
    task = task_of(family, tmp_path / "out", probes=probes)

    def failing(subject: Any, probe: Any, *drawn: int, **kept: Any) -> Any:
        if probe.name == "gd-alignment":
            raise IndexError("list index out of range")
        return run(subject, probe, *drawn, **kept)

    with monkeypatch.context() as broken:
        broken.setattr(module, "run", failing)
        result = work(task)
    assert result.reports.keys() == {"mean-answer"}
    assert result.made == 1
    assert result.error is not None
    assert (result.error.kind, result.error.sentence) == ("error", "IndexError: list index out of range")
    assert "IndexError" in result.error.traceback.splitlines()[-1]
    assert SweepFolder(task.out).reports_of(task.item, "asked") is None
    assert finished_item(task) is None
    again = work(task)
    assert (again.found, again.made, again.error, opened.times) == (1, 1, None, 2)


def test_a_checkpoint_that_is_refused_comes_back_with_the_sentence_of_run(tmp_path: Path) -> None:
    path = tmp_path / "damaged.safetensors"
    path.write_bytes(b"nothing")
    with pytest.raises(CheckpointRefused) as caught:
        models.load(path)
    error = work(task_of(str(path), tmp_path / "out", None)).error
    assert error is not None
    assert (error.kind, error.sentence) == ("refused", str(caught.value))


def test_wrong_arguments_and_an_output_that_cannot_be_written_are_told_apart(family: str, tmp_path: Path) -> None:
    error = work(task_of(family, tmp_path / "out", seed=-1)).error
    assert error is not None
    assert (error.kind, error.sentence) == ("usage", "seed = -1: expected 0 or more")
    out = tmp_path / "a file"
    out.write_text("")
    error = work(task_of(family, out)).error
    assert error is not None
    assert error.kind == "output"


def test_a_full_disk_ends_the_item(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tried = []

    def full(*arguments: Any) -> None:
        tried.append(arguments)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mesascope.analyses.reports.saving.write_files", full)
    twice = (("mean-answer", {"n_tasks": 16}), ("mean-answer", {"n_tasks": 17}))
    result = work(task_of(family, tmp_path / "out", probes=twice))
    assert result.error is not None
    assert result.error.kind == "output"
    assert "No space left on device" in result.error.sentence
    assert len(tried) == 1  # the other probe would only measure for nothing
    assert list((tmp_path / "out").glob("*/mean-answer/*")) == []


def test_figures_that_are_wanted_later_are_drawn_from_what_is_there(
    family: str, tmp_path: Path, opened: Opened
) -> None:
    probes = (("gd-alignment", {"limit": 20}),)
    plain = task_of(family, tmp_path / "out", probes=probes)
    drawn = replace(plain, figures="main")
    (place,) = work(plain).reports.values()
    assert finished_item(drawn) is None
    assert work(drawn).found == 1
    assert [path.suffix for path in (tmp_path / "out" / str(place) / "figures").glob("*.png")] == [".png"]
    assert finished_item(drawn) is not None
    assert opened.times == 1


def test_an_edited_report_is_made_again_and_the_log_says_why(
    family: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    task = task_of(family, tmp_path / "out")
    (place,) = work(task).reports.values()
    report = tmp_path / "out" / str(place) / "report.json"
    report.write_text(report.read_text().replace("We averaged answers.", "We guessed."))
    assert finished_item(task) is None
    assert work(task).made == 1
    assert "measuring again instead of reusing what is there" in capsys.readouterr().err
    assert not Report.load(report.parent).edited


def test_changed_sources_reuse_nothing(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = task_of(family, tmp_path / "out")
    work(task)
    monkeypatch.setattr("mesascope.analyses.runs.running.source_state", lambda: {**CLEAN, "dirty": True})
    assert finished_item(task) is None
    assert work(task).made == 1


def test_a_worker_makes_the_same_bytes_and_goes_on_after_a_refusal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a process of its own, with the sources as they are: those of the report in this process, too."""
    monkeypatch.undo()
    probes = (("gd-alignment", {"limit": 20}),)
    tasks = [
        ItemTask(Item(*item), probes, str(tmp_path / "out"), "asked", figures="none")
        for item in (
            ("lsa-1layer", "seed0-step0"),
            (str(tmp_path / "gone.safetensors"), None),
            ("lsa-1layer", "seed1-step500"),
        )
    ]
    first, refused, last = [result for _, result in local(work, tasks, EngineSettings(workers=1, timeout=60.0))]
    assert refused.error is not None
    assert (refused.error.kind, refused.error.attempts) == ("refused", 1)
    for task, result in ((tasks[0], first), (tasks[2], last)):
        here = work(replace(task, out=str(tmp_path / "here")))
        assert here == result
        (place,) = result.reports.values()
        assert same_files(tmp_path / "out" / str(place), tmp_path / "here" / str(place))
