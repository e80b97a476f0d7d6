"""One item of a sweep with two probes that read a text: one pass for both, and what is finished of them is kept."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mesascope import models
from mesascope.analyses.reports.report import Report
from mesascope.analyses.reports.saving import same_files
from mesascope.analyses.runs.parts import PLACE, PartsOnDisk
from mesascope.analyses.runs.running import probe_named, run
from mesascope.analyses.sweeps import work as module
from mesascope.analyses.sweeps.items import Item
from mesascope.analyses.sweeps.tasks import ItemTask
from mesascope.analyses.sweeps.work import work
from mesascope.models import AttentionOnlyModel

CLEAN = {"commit": "c" * 40, "dirty": False}
MODEL, REVISION, LENGTH = "induction-2layer", "seed0-step4000", 33
Probes = tuple[tuple[str, dict[str, Any]], ...]


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in ("reports.provenance", "runs.running", "runs.parts"):
        monkeypatch.setattr(f"mesascope.analyses.{place}.source_state", lambda: dict(CLEAN))


@pytest.fixture(scope="module")
def probes(tmp_path_factory: pytest.TempPathFactory) -> Probes:
    path = tmp_path_factory.mktemp("text") / "tokens.npy"
    np.save(path, np.random.default_rng(3).integers(1, 20, (6, LENGTH - 1)))  # and BOS
    text = {"tokens": str(path)}
    heads = {**text, "periods": (6,), "n_sequences": 11, "ablate": "nothing", "attention": "nothing"}
    return ("token-norms", {**text, "parts": "outliers", "untrained": 0}), ("induction-heads", heads)


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many windows of the text went through a model, pass by pass."""
    seen: list[int] = []
    own = AttentionOnlyModel.run

    def counting(self: AttentionOnlyModel, tokens: Any, *rest: Any, **named: Any) -> Any:
        seen.extend([len(tokens)] * (tokens.shape[1] == LENGTH))
        return own(self, tokens, *rest, **named)

    monkeypatch.setattr(AttentionOnlyModel, "run", counting)
    return seen


@pytest.fixture(scope="module")
def alone(probes: Probes, tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """The reports that `run` makes, probe by probe."""
    with pytest.MonkeyPatch.context() as patched:
        for place in ("reports.provenance", "runs.running"):
            patched.setattr(f"mesascope.analyses.{place}.source_state", lambda: dict(CLEAN))
        made = [run(models.load(MODEL, REVISION), probe_named(name, settings)) for name, settings in probes]
    out = tmp_path_factory.mktemp("alone")
    return [report.save(out, "none") for report in made if isinstance(report, Report)]


def task_of(probes: Probes, out: Path, **how: Any) -> ItemTask:
    return ItemTask(Item(MODEL, REVISION), probes, str(out), "asked", **{"figures": "none", "threads": None, **how})


def reports(result: Any, out: Path) -> list[Path]:
    assert result.error is None
    return [out / result.reports[name] for name in ("token-norms", "induction-heads")]


PILOT = 6
"""Windows that token-norms looks at before it begins."""


@pytest.mark.parametrize("order", [1, -1])
def test_the_text_is_read_once_for_both(
    order: int, probes: Probes, alone: list[Path], windows: list[int], tmp_path: Path
) -> None:
    found = reports(work(task_of(probes[::order], tmp_path)), tmp_path)
    assert windows == [PILOT, 6]
    assert all(map(same_files, alone, found))
    assert not (tmp_path / PLACE).exists()


def test_not_where_both_together_do_not_fit(
    probes: Probes, alone: list[Path], windows: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "free_bytes", lambda device: 1)
    assert all(map(same_files, alone, reports(work(task_of(probes, tmp_path)), tmp_path)))
    assert windows == [PILOT, 6, 6]


def test_what_one_of_them_has_finished_is_not_measured_for_the_other(
    probes: Probes, alone: list[Path], windows: list[int], tmp_path: Path
) -> None:
    work(task_of(probes[:1], tmp_path))
    windows.clear()
    assert all(map(same_files, alone, reports(work(task_of(probes, tmp_path)), tmp_path)))
    assert windows == [6]


def test_one_that_does_not_fit_takes_no_part(
    probes: Probes, windows: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kind = type(probe_named("token-norms"))
    monkeypatch.setattr(kind, "memory", lambda self, subject: 10**18)
    result = work(task_of(probes, tmp_path))
    assert result.error is not None
    assert result.error.kind == "memory"
    assert list(result.reports) == ["induction-heads"]
    assert windows == [6]


class Killed(BaseException):
    """No exception that anybody catches."""


def test_an_item_that_was_interrupted_goes_on(
    probes: Probes, alone: list[Path], windows: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    keep = PartsOnDisk.keep

    def until_weights(self: PartsOnDisk, name: str, part: Any) -> None:
        keep(self, name, part)
        if name == "weights":
            raise Killed

    with monkeypatch.context() as patched:
        patched.setattr(PartsOnDisk, "keep", until_weights)
        with pytest.raises(Killed):
            work(task_of(probes, tmp_path))
    assert windows == [PILOT, 6]
    assert sorted(path.stem for path in (tmp_path / PLACE).glob("*/*")) == ["text", "weights"]
    result = work(task_of(probes, tmp_path))
    assert (result.found, result.made) == (1, 1)
    assert windows == [PILOT, 6]
    assert all(map(same_files, alone, reports(result, tmp_path)))
    assert not (tmp_path / PLACE).exists()


def test_parts_of_a_report_that_is_there_are_deleted(probes: Probes, tmp_path: Path) -> None:
    """As after two workers at once, of which one was killed when the other had finished."""
    task = task_of(probes[1:], tmp_path)
    folder = tmp_path / work(task).reports["induction-heads"]
    (tmp_path / PLACE / folder.name).mkdir(parents=True)
    (tmp_path / PLACE / folder.name / "text.npz").write_bytes(b"old")
    assert work(task).found == 1
    assert not (tmp_path / PLACE).exists()
