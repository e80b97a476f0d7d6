"""Whole sweeps: the same bytes however they went, nothing measured twice, and every failure a row."""

from __future__ import annotations

import errno
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mesascope.analyses.commands import cli
from mesascope.analyses.reports import saving
from mesascope.analyses.reports.report import Report
from mesascope.analyses.sweeps.results import SweepResult
from mesascope.analyses.sweeps.state import Failure, SweepFolder, status
from mesascope.analyses.sweeps.sweeping import planned, sweep
from mesascope.analyses.sweeps.tasks import ItemResult
from mesascope.data.errors import OutputError, UsageError

from .families import STEPS, Backwards, contents, opened_counted, write_family

CLEAN = {"commit": "c" * 40, "dirty": False}


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, mean_answer: Any) -> None:
    """The sources are clean, so that finished reports are found."""
    for place in ("reports.provenance", "runs.running"):
        monkeypatch.setattr(f"mesascope.analyses.{place}.source_state", lambda: dict(CLEAN))


@pytest.fixture
def family(tmp_path: Path) -> str:
    return write_family(tmp_path / "family.safetensors")


def swept(family: str | list[str], out: Path, **more: Any) -> SweepResult:
    probe = more.pop("probe", "mean-answer")
    return sweep(family, probe, out, **{"engine": "inline", "figures": "none", **more})


def states(result: SweepResult) -> dict[str, str]:
    return {str(row.item.revision): row.state for row in result.rows}


def test_the_folder_is_that_of_run(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = swept(family, tmp_path / "swept")
    assert set(states(result).values()) == {"done"}
    assert len(result.rows) == 6
    words = ["run", family, "--revision", "all", "-p", "mean-answer", "--figures", "none", "-q"]
    assert cli.main([*words, "-o", str(tmp_path / "run")]) == 0
    by_run = contents(tmp_path / "run")
    del by_run["index.html"]  # the command writes it, for sweeps as for runs
    assert contents(tmp_path / "swept") == by_run
    (over,) = result.reports
    report = Report.load(over)
    assert report.measures["answer"].axes == ("step",)
    assert (report.measures["answer"].replicate, report.measures["answer"].n) == ("seed", 2)


def test_beside_a_report_over_several_one_gets_the_main_figure(family: str, tmp_path: Path) -> None:
    for revisions, figures, of_one in (("", "paper", "main"), ("seed0-step0", "paper", "paper"), ("", "none", "none")):
        assert planned(family, "mean-answer", tmp_path, revisions, (), figures).template.figures == of_one


def test_the_order_of_finishing_changes_no_byte(family: str, tmp_path: Path) -> None:
    swept(family, tmp_path / "a")
    engine = Backwards()
    swept(family, tmp_path / "b", engine=engine)
    assert engine.begun[0] == "seed1-step20"
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_what_is_interrupted_goes_on_and_opens_nothing_twice(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = opened_counted(monkeypatch)
    with pytest.raises(KeyboardInterrupt):
        swept(family, tmp_path / "a", engine=Backwards(dies_after=4))
    assert len(opened) == 4
    assert not any((tmp_path / "a" / "family").glob("*")), "no report over steps yet"
    swept(family, tmp_path / "a")
    assert sorted(opened) == sorted({f"seed{seed}-step{step}" for seed in (0, 1) for step in STEPS})
    monkeypatch.setattr("safetensors.safe_open", None)  # whoever opened a file now would fail
    result = swept(family, tmp_path / "a", engine=Backwards(dies_after=0))
    assert (len(opened), set(states(result).values())) == (6, {"done"})
    assert len(result.reports) == 1
    swept(family, tmp_path / "undisturbed")
    assert contents(tmp_path / "a") == contents(tmp_path / "undisturbed")


def test_shares_in_any_order_make_the_whole(family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = opened_counted(monkeypatch)
    first = swept(family, tmp_path / "a", shard=(2, 3))
    assert first.reports == ()
    assert len(first.pending) == 6 - len(opened)
    for shard in ((1, 2), (0, 2)):  # another number of shares: what is finished is found all the same
        result = swept(family, tmp_path / "a", shard=shard)
    assert (len(opened), len(set(opened))) == (6, 6)
    assert len(result.reports) == 1
    swept(family, tmp_path / "whole")
    assert contents(tmp_path / "a") == contents(tmp_path / "whole")


def test_shares_are_disjoint_and_need_no_engine(family: str, tmp_path: Path) -> None:
    parts = [
        {str(row.item.revision) for row in swept(family, tmp_path / str(i), shard=(i, 3), engine="none such").rows
         if row.state == "done"}
        for i in range(3)
    ]  # fmt: skip
    assert sum(map(len, parts)) == len(set.union(*parts)) == 6


def test_a_failure_is_a_row_and_is_tried_again_when_asked(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mean_answer: Any
) -> None:
    said: list[str] = []
    measure = mean_answer.measure

    def fails(self: Any, subject: Any, *arguments: Any) -> Any:
        if subject.source.step == 10 and subject.source.seed == 1:
            raise ZeroDivisionError("nobody expected this")
        return measure(self, subject, *arguments)

    with monkeypatch.context() as broken:
        broken.setattr(mean_answer, "measure", fails)
        result = swept(family, tmp_path / "a", say=said.append)
    (row,) = result.failed
    assert row.item.revision == "seed1-step10"
    assert row.failure is not None
    assert row.failure.sentence == "ZeroDivisionError: nobody expected this"
    assert said == [f"{family} at seed1-step10: ZeroDivisionError: nobody expected this"]
    (over,) = result.reports
    assert Report.load(over).sources[-1]["notes"] == ["seed 1, step 10 failed: ZeroDivisionError: nobody expected this"]
    opened = opened_counted(monkeypatch)
    again = swept(family, tmp_path / "a", say=said.append)
    assert (states(again), again.reports, opened) == (states(result), result.reports, [])
    assert len(said) == 2, "it is said each time"
    mended = swept(family, tmp_path / "a", retry_failed=True)
    assert (mended.failed, opened) == ((), ["seed1-step10"])
    assert not over.exists(), "the report that lacked a checkpoint makes place"
    swept(family, tmp_path / "b")
    assert contents(tmp_path / "a") == contents(tmp_path / "b")


def test_a_failure_of_one_probe_is_none_of_another(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mean_answer: Any
) -> None:
    with monkeypatch.context() as broken:
        broken.setattr(mean_answer, "measure", lambda *arguments: 1 / 0)
        assert len(swept(family, tmp_path / "a").failed) == 6
    assert swept(family, tmp_path / "a", probe=mean_answer(offset=1.0)).failed == ()
    assert len(swept(family, tmp_path / "a").failed) == 6


def test_a_checkpoint_counts_for_the_probes_that_did_not_fail(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mean_answer: Any
) -> None:
    measure = mean_answer.measure

    def fails(self: Any, subject: Any, *arguments: Any) -> Any:
        assert subject.source.step != 20, "too late"
        return measure(self, subject, *arguments)

    both = ["gd-certificate", "mean-answer"]
    with monkeypatch.context() as broken:
        broken.setattr(mean_answer, "measure", fails)
        result = swept(family, tmp_path / "a", probe=both)
    assert [row.item.revision for row in result.failed] == ["seed0-step20", "seed1-step20"]
    assert [list(row.reports) for row in result.failed] == [["gd-certificate"]] * 2
    certificate, answer = map(Report.load, result.reports)
    assert [source["step"] for source in certificate.sources] == [0, 0, 10, 10, 20, 20]
    assert [source["notes"] for source in certificate.sources] == [[]] * 6
    assert [source["step"] for source in answer.sources] == [0, 0, 10, 10]
    assert [note.partition(" failed")[0] for note in answer.sources[-1]["notes"]] == [
        "seed 0, step 20",
        "seed 1, step 20",
    ]
    assert swept(family, tmp_path / "b", probe="gd-certificate").reports[0].name == certificate.key
    mended = swept(family, tmp_path / "a", probe=both, retry_failed=True)
    assert mended.failed == ()
    assert mended.reports[0] == result.reports[0]
    assert [source["step"] for source in Report.load(mended.reports[1]).sources] == [0, 0, 10, 10, 20, 20]


def test_what_was_saved_before_a_process_died_counts(family: str, tmp_path: Path) -> None:
    """A worker that is killed in its second probe gives no answer, but the report of the first is there."""

    def killed(work: Any, tasks: Any, settings: Any) -> Any:
        for task in tasks:
            work(replace(task, probes=task.probes[:1], asked="its first probe"))
            yield task, ItemResult(task.item, error=Failure("killed", "its process was killed by signal 9"))

    result = swept(family, tmp_path / "a", probe=["gd-certificate", "mean-answer"], engine=killed)
    assert set(states(result).values()) == {"failed"}
    assert [list(row.reports) for row in result.rows] == [["gd-certificate"]] * 6
    assert [folder.parent.name for folder in result.reports] == ["gd-certificate"]
    assert [row.reports for row in status(tmp_path / "a")] == [row.reports for row in result.rows]


def test_a_refused_checkpoint_is_a_row_with_the_sentence_of_run(
    family: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.safetensors"
    bad.write_bytes(b"no header at all")
    assert cli.main(["run", str(bad), "-p", "mean-answer"]) == 3
    sentence = capsys.readouterr().err.removeprefix("mesascope: error: ").strip()
    result = swept([str(bad), family], tmp_path / "a")
    assert [row.item.model for row in result.failed] == [str(bad)]
    assert result.failed[0].failure is not None
    assert (result.failed[0].failure.kind, result.failed[0].failure.sentence) == ("refused", sentence)
    (over,) = result.reports
    assert Report.load(over).sources[-1]["notes"] == [], "a failure of another model"


def test_a_probe_that_does_not_apply_is_said_with_its_reason(family: str, tmp_path: Path, mean_answer: Any) -> None:
    asked = ["gd-certificate", mean_answer(refuse="it was told to refuse")]
    result = swept(family, tmp_path / "a", probe=asked, revisions="step20")
    assert list(result.not_applicable) == ["mean-answer"]
    assert set(result.not_applicable["mean-answer"].values()) == {"it was told to refuse"}
    assert [row.reports["mean-answer"] for row in result.rows] == [None, None]
    assert [folder.parent.name for folder in result.reports] == ["gd-certificate"]
    assert swept(family, tmp_path / "a", probe=asked, revisions="step20") == result


def test_progress_counts_and_the_state_can_be_read_meanwhile(family: str, tmp_path: Path) -> None:
    seen: list[tuple[str, float]] = []
    done: list[int] = []

    def progress(stage: str, fraction: float) -> None:
        seen.append((stage, fraction))
        done.append(sum(row.state == "done" for row in status(tmp_path / "a")))

    swept(family, tmp_path / "a", progress=progress)
    assert [stage for stage, _ in seen[:2]] == ["1 done, 0 failed, 5 left", "2 done, 0 failed, 4 left"]
    assert [fraction for _, fraction in seen] == [pytest.approx(n / 6) for n in (1, 2, 3, 4, 5, 6, 6)]
    assert done == [1, 2, 3, 4, 5, 6, 6]
    before = contents(tmp_path / "a")
    assert {row.state for row in status(tmp_path / "a")} == {"done"}
    assert contents(tmp_path / "a") == before


def test_nothing_is_written_where_nothing_can_be_planned(family: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="revision 'step11' is not in family"):
        swept(family, tmp_path / "a", revisions=["step{10,11}"])
    with pytest.raises(UsageError, match="engine 'nowhere' is not known"):
        swept(family, tmp_path / "a", engine="nowhere")
    with pytest.raises(UsageError, match="timeout 5 s: the engine inline works in this process"):
        swept(family, tmp_path / "a", timeout=5.0)
    with pytest.raises(UsageError, match="no checkpoints given"):
        swept([], tmp_path / "a")
    with pytest.raises(UsageError, match="expected at least one"):
        swept(family, tmp_path / "a", probe=[])
    assert not (tmp_path / "a").exists()


def test_a_full_disk_ends_the_sweep_at_once(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mean_answer: Any
) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(OutputError, match="cannot be written"):
        swept(family, tmp_path / "file")
    engine = Backwards()

    def full(*arguments: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as disk:
        disk.setattr(saving, "publish", full)
        with pytest.raises(OutputError, match="the report cannot be written \\(No space left on device\\)"):
            swept(family, tmp_path / "a", engine=engine)
    assert engine.begun == ["seed1-step20"], "every further one would fail, too"
    assert not list((tmp_path / "a" / ".sweep").glob("failed/*")), "that is no failure of the checkpoint"
    assert set(states(swept(family, tmp_path / "a")).values()) == {"done"}


def test_a_second_sweep_adds_to_the_folder(family: str, tmp_path: Path) -> None:
    swept(family, tmp_path / "a", revisions="step{0,10}", seeds=[0])
    swept(family, tmp_path / "a", revisions=["step20"])
    assert [(str(row.item.revision), row.state) for row in status(tmp_path / "a")] == [
        ("seed0-step0", "done"), ("seed0-step10", "done"), ("seed0-step20", "done"), ("seed1-step20", "done"),
    ]  # fmt: skip
    assert len(SweepFolder(tmp_path / "a").plan()) == 1
