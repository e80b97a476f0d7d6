"""Reports over steps and seeds from what is on the disk: those of `run`, the same weights marked, failures noted."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
from mesascope import models, probes
from mesascope.analyses.commands import cli
from mesascope.analyses.reports.report import Report
from mesascope.analyses.sweeps import trajectories
from mesascope.analyses.sweeps.items import Item
from mesascope.analyses.sweeps.results import SweepResult
from mesascope.analyses.sweeps.state import status
from mesascope.analyses.sweeps.sweeping import sweep
from mesascope.analyses.sweeps.trajectories import step_in_words
from mesascope.models.subject import NotApplicable, Source, Subject
from mesascope.probes import Claim, Findings, Measure, Probe
from mesascope.probes.probe import weights_of

from .families import Backwards, contents, opened_counted, write_family, write_revisions

CLEAN = {"commit": "c" * 40, "dirty": False}
SUITE = {"step0": 1, "step8": 2, "step16": 3, "step32": 3, "step64": 3}
"""Revisions of a suite in which training stood still from step 16 on, and the seeds of their weights."""


@dataclass(frozen=True)
class WeightSum(Probe):
    """The sum of all weights, of whatever model, and its range between seeds."""

    name: ClassVar[str] = "weight-sum"
    version: ClassVar[str] = "1"

    def applies(self, subject: Subject) -> NotApplicable | None:
        return None

    def measure(self, subject: Subject, seed: int, batch_size: int, progress: Any = None) -> Findings:
        return Findings({"total": _measure(_total(subject))}, {"total": np.ones(3)}, {})

    def between(self, subjects: tuple[Subject, ...], seed: int, batch_size: int) -> dict[str, Measure]:
        return {"range": _measure(float(np.ptp(list(map(_total, subjects)))))}

    def claim(self, measures: Mapping[str, Measure], sources: tuple[Source, ...]) -> Claim:
        return Claim(f"{len(sources)} checkpoints.", "no rival", "nothing", (), "none", ())


def _measure(value: float) -> Measure:
    return Measure(np.array(value), "1", (np.array(value), np.array(value)), "none", 0, no_nulls="a sum")


def _total(subject: Subject) -> float:
    return sum(float(weight.detach().double().sum()) for weight in weights_of(subject))


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, mean_answer: Any) -> None:
    """The sources are clean, so that finished reports are found, and the probe is registered."""
    monkeypatch.setitem(sys.modules, "weight_sum_probe", sys.modules[__name__])
    monkeypatch.setitem(probes.PROBES, "weight-sum", "weight_sum_probe:WeightSum")
    for place in ("reports.provenance", "runs.running"):
        monkeypatch.setattr(f"mesascope.analyses.{place}.source_state", lambda: dict(CLEAN))


def swept(named: str | list[str], out: Path, probe: Any = "weight-sum", **more: Any) -> SweepResult:
    return sweep(named, probe, out, **{"engine": "inline", "figures": "none", **more})


def by_run(out: Path, *words: str) -> dict[str, bytes]:
    """What `run` leaves, without the overview that sweeps leave to their command."""
    assert cli.main(["run", *words, "-q", "-o", str(out)]) == 0
    return {name: content for name, content in contents(out).items() if name != "index.html"}


def test_several_seeds_of_a_step_are_opened_for_what_needs_them_together(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    family = write_family(tmp_path / "family.safetensors")
    opened = opened_counted(monkeypatch)
    chosen = ["seed0-step0", "seed0-step10", "seed1-step10"]
    (over,) = swept(family, tmp_path / "a", revisions=chosen).reports
    assert opened == [*chosen, "seed0-step10", "seed1-step10"]
    words = [family, "--revision", ",".join(chosen), "-p", "weight-sum", "--figures", "none"]
    assert contents(tmp_path / "a") == by_run(tmp_path / "b", *words)
    report = Report.load(over)
    assert report.measures["range"].values[1] == pytest.approx(np.ptp(report.measures["total"].points[:, 1]))
    del opened[:]
    assert swept(family, tmp_path / "a", revisions=chosen).reports == (over,)
    assert opened == [], "the report over them is found, too"
    swept(family, tmp_path / "c", revisions=["step0", "seed0-step10"], seeds=[0])
    assert opened == ["seed0-step0", "seed0-step10"], "one seed a step"


def test_the_report_over_steps_of_a_hub_model_is_that_of_run(hub: Path, tmp_path: Path) -> None:
    model = write_revisions(hub, "owner/suite", {name: SUITE[name] for name in ("step0", "step8", "step16")})
    (over,) = swept(model, tmp_path / "a", revisions="step{8,16,0}").reports
    words = [model, "--revisions", "step0,step8,step16", "-p", "weight-sum", "--figures", "none"]
    assert contents(tmp_path / "a") == by_run(tmp_path / "b", *words)
    report = Report.load(over)
    assert report.measures["total"].coords["step"] == (0, 8, 16)
    assert {"bos", "tokenizer_sha256", "attention_implementation"} <= set(report.provenance)
    assert "transformers" in report.provenance["environment"]["packages"]


@pytest.mark.parametrize("engine", ["inline", Backwards()])
def test_the_same_weights_are_measured_once_and_marked(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Any
) -> None:
    model = write_revisions(hub, "owner/suite", SUITE)
    opened = opened_counted(monkeypatch)
    result = swept(model, tmp_path / "a", engine=engine)
    assert sorted(opened) == ["step0", "step16", "step8"]
    assert [(str(row.item.revision), row.state) for row in result.rows] == [
        ("step0", "done"), ("step8", "done"), ("step16", "done"), ("step32", "identical"), ("step64", "identical"),
    ]  # fmt: skip
    assert result.rows[-1].same_as == Item(model, "step16")
    assert result.rows[-1].reports == result.rows[2].reports
    report = Report.load(*result.reports)
    assert [(source["revision"], source["step"]) for source in report.sources] == [
        ("step0", 0), ("step8", 8), ("step16", 16), ("step32", 32), ("step64", 64),
    ]  # fmt: skip
    notes = [[note for note in source["notes"] if "same weights" in note] for source in report.sources]
    said = "the same weights as owner/suite-step16: no independent point"
    assert notes == [[], [], [], [said], [said]]
    assert len({source["commit"] for source in report.sources}) == 5
    totals = report.measures["total"].values
    assert len(set(totals)) == 3
    assert totals[2] == totals[3] == totals[4]


def test_what_is_measured_already_stands_for_its_copies(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = write_revisions(hub, "owner/suite", SUITE)
    opened = opened_counted(monkeypatch)
    swept(model, tmp_path / "a", revisions="step32")
    result = swept(model, tmp_path / "a", revisions="step{64,32,16}")
    assert opened == ["step32"]
    assert [row.same_as for row in result.rows] == [Item(model, "step32"), None, Item(model, "step32")]
    notes = [list(source["notes"])[-1] for source in Report.load(*result.reports).sources[1:]]
    assert notes == ["the same weights as owner/suite-step16: no independent point"] * 2, "the first in training"


def test_copies_in_folders_are_named_by_their_folders(hub: Path, tmp_path: Path) -> None:
    write_revisions(hub, "owner/suite", {"step0": 1, "step8": 1, "step16": 2})
    folders = sorted(map(str, (hub / "models--owner--suite" / "snapshots").iterdir()))
    result = swept(folders, tmp_path / "a")
    assert sorted(row.state for row in result.rows) == ["done", "done", "identical"]
    report = Report.load(*result.reports)
    (copy,) = (row.item.model for row in result.rows if row.same_as)
    assert Path(copy).name not in [source["name"] for source in report.sources]
    assert any(f"{Path(copy).name} is left out: it has the same" in note for note in report.sources[-1]["notes"])


def test_a_twin_in_another_container_is_told_once_it_was_opened(
    hub: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Equal tensors in a pickle, whose file has another digest, and in files without digests for names."""
    model = write_revisions(hub, "owner/suite", {"step0": 1, "step8": 2, "step16": 2}, pickled=["step16"])
    opened = opened_counted(monkeypatch)
    result = swept(model, tmp_path / "a")
    assert opened == ["step0", "step8", "step16"]
    twin = Item(model, "step16"), "done", Item(model, "step8")
    assert [(row.item, row.state, row.same_as) for row in result.rows][2] == twin
    assert [(row.item, row.state, row.same_as) for row in status(tmp_path / "a")][2] == twin
    report = Report.load(*result.reports)
    said = "the same weights as owner/suite-step8: no independent point"
    assert [said in source["notes"] for source in report.sources] == [False, False, True]
    assert report.sources[2]["revision"] == "step16"
    assert report.sources[1]["weights_sha256"] == report.sources[2]["weights_sha256"]
    assert [row.same_as for row in swept(model, tmp_path / "a").rows] == [None, None, Item(model, "step8")]
    folders = []
    for name, number in (("one", 0), ("two", 1), ("three", 0)):
        snapshot = sorted((hub / "models--owner--suite" / "snapshots").iterdir(), key=lambda path: path.name)[number]
        folders.append(str(shutil.copytree(snapshot, tmp_path / name)))
    copies = swept(folders, tmp_path / "b")
    assert [row.state for row in copies.rows] == ["done"] * 3
    assert [row.same_as for row in copies.rows] == [None, None, Item(folders[0])]
    (over,) = copies.reports
    assert [source["name"] for source in Report.load(over).sources] in (["one", "two"], ["three", "two"])


def test_the_same_weights_are_no_two_replicates(tmp_path: Path) -> None:
    same = {"seed1/step0/": "seed0/step0/", "seed1/step10/": "seed0/step0/"}
    family = write_family(tmp_path / "family.safetensors", steps=(0, 10), same=same)
    (over,) = swept(family, tmp_path / "a").reports
    report = Report.load(over)
    assert [source["revision"] for source in report.sources] == ["seed0-step0", "seed0-step10", "seed1-step10"]
    assert [list(source["notes"]) for source in report.sources] == [
        [],
        [],
        [
            "the same weights as family-seed0-step0: no independent point",
            "family-seed1-step0 is left out: it has the same weights as family-seed0-step0",
        ],
    ]


def test_a_branch_with_the_weights_of_a_step_is_no_step(hub: Path, tmp_path: Path) -> None:
    model = write_revisions(hub, "owner/suite", {"main": 2, "step0": 1, "step8": 2})
    result = swept(model, tmp_path / "a")
    assert [(row.item.revision, row.state) for row in result.rows] == [
        ("main", "done"), ("step0", "done"), ("step8", "identical"),
    ]  # fmt: skip
    report = Report.load(*result.reports)
    assert report.measures["total"].coords["step"] == (0, 8)
    said = "owner/suite-main is left out: it has the same weights as owner/suite-step8"
    assert report.sources[-1]["notes"][-1] == said
    assert not any("no independent point" in note for note in report.sources[-1]["notes"])


def test_checkpoints_of_other_shapes_get_reports_of_their_own(tmp_path: Path) -> None:
    names = []
    for d_in in (2, 3):
        made = models.gd_transformer(4, 1.0, d_in)
        names.append(str(tmp_path / f"of{d_in}.safetensors"))
        models.save_checkpoint(Path(names[-1]), made.config, dict(made.state_dict()))
    words = [*names, "-p", "gd-certificate"]
    result = swept(names, tmp_path / "a", "gd-certificate", figures="paper")
    assert result.reports == ()
    found = contents(tmp_path / "a")
    assert found == by_run(tmp_path / "b", *words), "each alone, so with all its figures"
    assert {Path(name).suffix for name in found} >= {".pdf", ".svg", ".png"}


def test_of_many_failures_some_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    family = write_family(tmp_path / "family.safetensors", seeds=[0], steps=range(0, 160, 10))
    measure = WeightSum.measure

    def fails(self: Any, subject: Any, *arguments: Any) -> Any:
        assert subject.source.step < 20, "too late"
        return measure(self, subject, *arguments)

    monkeypatch.setattr(WeightSum, "measure", fails)
    result = swept(family, tmp_path / "a")
    assert len(result.failed) == 14
    notes = Report.load(*result.reports).sources[-1]["notes"]
    assert len(notes) == 13
    assert notes[0].startswith("seed 0, step 20 failed: AssertionError: too late")
    assert notes[-1] == "2 more checkpoints failed"


def test_what_other_sources_measured_is_not_mixed_with_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    family = write_family(tmp_path / "family.safetensors", seeds=[0])
    swept(family, tmp_path / "a", shard=(0, 2))
    said: list[str] = []
    monkeypatch.setattr(trajectories, "code_sha256", lambda kind: "of other sources")
    assert swept(family, tmp_path / "a", shard=(1, 2), say=said.append).reports == ()
    assert said == ["weight-sum: some checkpoints were measured by other sources; run their share again"]


@pytest.mark.parametrize("place", ["../b/weight-sum/0123456789abcdef", "family/other/0123456789abcdef", "/x", "", None])
def test_only_a_report_of_this_probe_makes_place_for_another(tmp_path: Path, place: str | None) -> None:
    family = write_family(tmp_path / "family.safetensors", seeds=[0])
    for folder in ("b/weight-sum/0123456789abcdef", "a/family/other/0123456789abcdef"):
        (tmp_path / folder).mkdir(parents=True)
    (over,) = swept(family, tmp_path / "a").reports
    (note,) = (tmp_path / "a" / ".sweep" / "over").glob("*.json")
    note.write_text(json.dumps({"folder": place}))
    assert swept(family, tmp_path / "a", force=True).reports == (over,)
    assert (tmp_path / "b/weight-sum/0123456789abcdef").is_dir()
    assert (tmp_path / "a/family/other/0123456789abcdef").is_dir()
    assert json.loads(note.read_text()) == {"folder": over.relative_to(tmp_path / "a").as_posix()}


def test_a_report_that_says_something_else_of_its_checkpoints_is_made_again(tmp_path: Path) -> None:
    family = write_family(tmp_path / "family.safetensors", seeds=[0])
    (over,) = swept(family, tmp_path / "a").reports
    first = Report.load(over)
    noted = {**first.sources[-1], "notes": ["step 30 failed: long ago"]}
    replace(first, sources=(*first.sources[:-1], noted)).save(tmp_path / "a", "none")
    assert Report.load(over).sources[-1]["notes"]
    swept(family, tmp_path / "a")
    assert Report.load(over).sources == first.sources


@pytest.mark.parametrize(
    ("item", "words"),
    [
        (Item("a/b", "step512"), "step 512"),
        (Item("family", "seed0-step512"), "seed 0, step 512"),
        (Item("a/b", "main"), "main"),
        (Item("x.safetensors"), "x.safetensors"),
    ],
)
def test_steps_in_words(item: Item, words: str) -> None:
    assert step_in_words(item) == words
