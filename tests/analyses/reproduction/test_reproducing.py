"""A reproduction from end to end, of one figure on the shipped one-layer model, and what becomes of failures."""

from __future__ import annotations

import errno
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mesascope.analyses.reproduction import making, reproducing, saving
from mesascope.analyses.reproduction.finding import plans_of
from mesascope.analyses.reproduction.judging import CUT_SHORT
from mesascope.analyses.reproduction.needs import Need, Reduction
from mesascope.analyses.reproduction.papers import VON_OSWALD_2023, Paper
from mesascope.analyses.reproduction.reproducing import carried_out, reproduce
from mesascope.analyses.reproduction.results import FigureResult
from mesascope.data.errors import MesascopeError, OutputError, UsageError

ROLLED, ROLLED_OTHERWISE = 1, 10
FILES = {"figure-10.csv", "figure-10.json", "figure-10.pdf", "figure-10.png", "figure-10.svg"}


def paper_of(**settings: Any) -> Paper:
    """The paper, whose need of Figures 1 and 10 is one small measurement."""
    known = VON_OSWALD_2023.needs["lsa-1layer"]
    need = replace(known, reduced=Reduction(8, (0,), limit=60), settings={**known.settings, **settings})
    return replace(VON_OSWALD_2023, needs={**VON_OSWALD_2023.needs, "lsa-1layer": need})


def figures(out: Path, *numbers: int, paper: Paper | None = None, say: Any = None) -> tuple[FigureResult, ...]:
    paper = paper_of() if paper is None else paper
    plans = plans_of(paper, numbers, True, out, None)
    return carried_out(paper, numbers, plans, out, workers=1, say=say or (lambda why: None))


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, tuple[FigureResult, ...]]:
    out = tmp_path_factory.mktemp("reproduced")
    return out, figures(out, ROLLED, ROLLED_OTHERWISE)


Done = tuple[Path, tuple[FigureResult, ...]]


def test_a_figure_is_measured_judged_drawn_and_shown(done: Done) -> None:
    out, (first, second) = done
    assert {path.name for path in out.glob("figure-10.*")} == FILES
    assert (first.claim.number, second.claim.number) == (ROLLED, ROLLED_OTHERWISE)
    assert first.numbers is not None
    assert set(first.numbers.statistics) == {"rollout_gap", "rollout_fall"}
    assert first.verdict.outcome == "reproduced"
    record = json.loads((out / "figure-01.json").read_text())
    assert record["verdict"] == {"outcome": "reproduced", "because": []}
    assert record["statistics"]["rollout_fall"]["value"] == first.numbers.statistics["rollout_fall"].value
    assert record["reduced"] == "1 of 5 seeds, 60 of 4,000 tasks"
    assert record["made"]["lsa-1layer"]["seeds"] == [0]
    assert record["made"]["lsa-1layer"]["weights_sha256"]
    page = (out / "index.html").read_text()
    assert "Figure 1:" in page
    assert "Figure 10:" in page
    assert "reduced" in page


def test_a_training_that_was_cut_short_is_no_evidence_against_a_claim(tmp_path: Path) -> None:
    small = replace(paper_of(label_slot=2).needs["lsa-1layer"], recipe="lsa-1layer-d2")
    paper = replace(VON_OSWALD_2023, needs={**VON_OSWALD_2023.needs, "lsa-1layer": small})
    (result,) = figures(tmp_path, ROLLED, paper=paper)
    assert "8 of 5,000 steps" in result.reduced
    assert result.verdict.outcome == "cannot tell"
    assert result.verdict.because[-1].endswith(CUT_SHORT)


def test_figures_that_share_a_need_share_its_report(done: Done) -> None:
    out, (first, second) = done
    assert first.made["lsa-1layer"].report is second.made["lsa-1layer"].report
    assert len(list(out.rglob("report.json"))) == 1


def test_the_page_is_over_all_records_of_the_folder(done: Done) -> None:
    out, _ = done
    before = (out / "verdicts.csv").read_text()
    assert {line.split(",")[0] for line in before.splitlines()[1:]} == {"1", "10"}
    saving.save_page(VON_OSWALD_2023, out)
    assert (out / "verdicts.csv").read_text() == before
    assert (out / "verdicts.md").read_text().splitlines()[2].startswith("| 1 | ")


def test_the_same_again_has_the_same_bytes(done: Done, tmp_path: Path) -> None:
    out, _ = done
    figures(tmp_path, ROLLED, ROLLED_OTHERWISE)
    for name in sorted(path.name for path in out.iterdir() if path.is_file()):
        assert (tmp_path / name).read_bytes() == (out / name).read_bytes(), name


def test_a_need_that_fails_makes_its_figure_not_measured_and_the_others_go_on(
    done: Done, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, (first, _) = done
    report, said = first.made["lsa-1layer"].report, list[str]()

    def of_one(plan: Any, *args: Any) -> Any:
        if plan.need.key == "lsa-1layer":
            return report
        raise MesascopeError("the disk was struck by lightning")

    monkeypatch.setattr(reproducing, "measured", of_one)
    monkeypatch.setattr(reproducing, "trained", lambda plan, progress: plan)
    (tmp_path / "figure-07.png").write_bytes(b"of an earlier call")
    rolled, ten = figures(tmp_path, ROLLED, 7, say=said.append)
    assert rolled.verdict.outcome == "reproduced"
    assert str(ten.verdict) == ("not measured, because lsa-10layer-recurrent: the disk was struck by lightning")
    assert said == ["lsa-10layer-recurrent: the disk was struck by lightning"]
    assert not (tmp_path / "figure-07.png").exists()
    assert "struck by lightning" in (tmp_path / "index.html").read_text()


def test_checkpoints_without_a_report_over_them_are_no_result(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Code that changes in between leaves members that no report puts together."""
    real = making.sweep
    monkeypatch.setattr(making, "sweep", lambda *args, **kinds: replace(real(*args, **kinds), reports=()))
    paper = paper_of()
    need = replace(paper.needs["lsa-1layer"], reduced=Reduction(8, (0, 1), limit=60))
    (only,) = figures(tmp_path, ROLLED, paper=replace(paper, needs={**paper.needs, "lsa-1layer": need}))
    assert "no report over 2 checkpoints" in str(only.verdict)


def test_a_probe_that_does_not_apply_is_said(tmp_path: Path) -> None:
    paper = paper_of()
    need = Need("lsa-1layer", "lsa-1layer", Reduction(8, (0,)), probe="label-copying")
    (only,) = figures(tmp_path, ROLLED, paper=replace(paper, needs={**paper.needs, "lsa-1layer": need}))
    assert "label-copying does not apply" in str(only.verdict)


def test_a_full_disk_is_said_and_leaves_what_was_there(done: Done, monkeypatch: pytest.MonkeyPatch) -> None:
    out, (first, _) = done
    before = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}

    def full(*args: Any) -> Any:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(saving, "publish_files", full)
    with pytest.raises(OutputError, match=r"cannot be written .No space left on device.; what was finished before"):
        saving.save_figure(first, VON_OSWALD_2023, out)
    assert {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()} == before


def test_a_folder_that_cannot_be_made_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    paper = VON_OSWALD_2023
    plans = plans_of(paper, (16,), True, tmp_path / "file", None)
    with pytest.raises(OutputError, match="cannot be made"):
        carried_out(paper, (16,), plans, tmp_path / "file", workers=1)


def test_a_record_of_something_else_is_refused(tmp_path: Path) -> None:
    (tmp_path / "figure-03.json").write_text('{"format": "another"}')
    with pytest.raises(UsageError, match=r"figure-03.json: no record of von-oswald-2023"):
        saving.load_records(VON_OSWALD_2023, tmp_path)


def test_what_does_not_exist_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="figure 99"):
        reproduce("von-oswald-2023", tmp_path / "out", figures=(99,))
    assert not (tmp_path / "out").exists()
