"""Reports as runs at Weights & Biases, offline: what the run's file holds, and what the process is like afterwards."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from mesascope.analyses import Report, export
from mesascope.analyses.exporting import wandb_runs
from mesascope.data.errors import UsageError
from mesascope.probes.measure import last_step

from .conftest import measure
from .wandb_file import OfflineRun, read

wandb = pytest.importorskip("wandb")
STEPS = (10, 25, 400)


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Everything that wandb writes goes into an empty folder, and nothing goes anywhere else."""
    for name in list(os.environ):
        if name.startswith("WANDB_"):
            monkeypatch.delenv(name)
    for name in ("WANDB_DATA_DIR", "WANDB_CACHE_DIR", "WANDB_CONFIG_DIR", "HOME"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def over_steps(make_report: Any) -> Report:
    """A report over three steps, with a measure that has a number at the last of them alone."""
    values = np.array([[1.0, 2.0], [3.0, 4.0], [5.5, -6.5]])
    return make_report(
        "trained",
        {
            "score": measure(values, axes=("step", "head"), coords={"step": STEPS}),
            "late": measure([np.nan, np.nan, 7.5], axes=("step",), coords={"step": STEPS}, message="too early"),
            "early": measure([6.5, np.nan, np.nan], axes=("step",), coords={"step": STEPS}, message="over"),
            "wide": measure(np.arange(600.0).reshape(3, 200), axes=("step", "position"), coords={"step": STEPS}),
            "always": measure(8.25),
            "large": measure(np.arange(float(wandb_runs.MOST_CELLS + 1)), axes=("position",)),
        },
    )


def exported(reports: Any, **options: Any) -> list[OfflineRun]:
    places = export(reports, "wandb", offline=True, **options).splitlines()
    return [read(Path(place)) for place in places]


def test_numbers_and_intervals_are_the_summary(two: Sequence[Report]) -> None:
    runs = exported(two, project="thesis")
    assert [(run.name, run.project, run.exit_code) for run in runs] == [
        ("alpha mean-answer", "thesis", 0),
        ("beta mean-answer", "thesis", 0),
    ]
    for run, report in zip(runs, two, strict=True):
        own = {name: value for name, value in run.summary.items() if isinstance(value, float | int)}
        for name, part in report.measures.items():
            low, high = part.interval
            for cell in np.ndindex(part.values.shape):
                place = f"[layer={cell[0]},head={cell[1]}]" if part.axes else ""
                for end, array in (("", part.values), ("_low", low), ("_high", high)):
                    expected = float(array[cell]) if np.isfinite(array[cell]) else None
                    assert own.get(f"mean-answer/{name}{place}{end}") == expected


def test_what_made_the_report_is_the_config(two: Sequence[Report]) -> None:
    (run,) = exported(two[0])
    for name in ("label", "probe", "key", "seed", "settings"):
        assert run.config[name] == getattr(two[0], name)
    assert run.config["provenance"]["code_sha256"] == two[0].provenance["code_sha256"]
    assert run.config["claim"]["found"] == two[0].claim.found
    assert [source["name"] for source in run.config["sources"]] == ["alpha"]


def test_a_report_over_steps_is_the_history_at_its_steps(over_steps: Report) -> None:
    (run,) = exported([over_steps])
    assert tuple(run.history) == STEPS
    for place, step in enumerate(STEPS):
        for head in (0, 1):
            one = over_steps.measures["score"].at(step=place, head=head)
            found = [run.history[step].get(f"mean-answer/score[head={head}]{end}") for end in ("", "_low", "_high")]
            assert found == [one.estimate, *map(float, one.interval)]
    assert [run.history[step].get("mean-answer/late") for step in STEPS] == [None, None, 7.5]
    assert [run.history[step].get("mean-answer/early") for step in STEPS] == [6.5, None, None]
    assert [run.summary[f"mean-answer/early{end}"] for end in ("", "_low")] == [None, None]
    last = last_step(over_steps.measures)
    assert run.summary["mean-answer/score[head=1]"] == float(last["score"].values[1])
    assert run.summary["mean-answer/always"] == 8.25
    assert run.summary["mean-answer/wide[position=199]"] == 599.0
    assert "mean-answer/always" not in run.history[STEPS[0]]
    assert not [name for name in run.summary if "large" in name]


def test_tables_figures_page_and_folder_are_sent(mean_answer: Any, make_subject: Any, elsewhere: Path) -> None:
    from mesascope.analyses.runs.running import run as measured

    folder = measured(make_subject(), mean_answer()).save(elsewhere / "reports", figures="png")
    (run,) = exported([folder])
    report = Report.load(folder)
    media = {name: run.folder / "files" / run.summary[f"{name}/path"] for name in parts_with_path(run)}
    (picture,) = (folder / "figures").glob("*.png")
    assert media[f"mean-answer/figures/{picture.stem}"].read_bytes() == picture.read_bytes()
    words = picture.with_suffix(".txt").read_text().strip()
    assert run.summary[f"mean-answer/figures/{picture.stem}/caption"] == words
    assert media["mean-answer/page"].read_bytes() == (folder / "report.html").read_bytes()
    for name, frame in {"measures": report.to_frame(), "heads": report.heads_frame().reset_index()}.items():
        table = json.loads(media[f"mean-answer/tables/{name}"].read_text())
        assert table["columns"] == list(frame.columns)
        for sent, row in zip(table["data"], frame.itertuples(index=False), strict=True):
            assert [cell for cell in sent if cell is not None] == [cell for cell in row if not is_blank(cell)]
    files = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    assert run.artifacts[f"{report.label}-mean-answer-{report.key}"] == files


def parts_with_path(run: OfflineRun) -> list[str]:
    return [name.removesuffix("/path") for name in run.summary if name.endswith("/path") and "artifact" not in name]


def is_blank(cell: Any) -> bool:
    import pandas as pd

    return bool(pd.isna(cell))


def children() -> set[str]:
    """Processes that this one has started and that still run."""
    return {pid for task in Path("/proc/self/task").glob("*/children") for pid in task.read_text().split()}


def state() -> dict[str, Any]:
    """All of a process that an export might change."""
    return {
        "environment": dict(os.environ),
        "folder": Path.cwd(),
        "hooks": (sys.excepthook, sys.exit, sys.stdout, sys.stderr),
        "signals": [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)],
        "threads": set(threading.enumerate()),
        "processes": children(),
    }


def test_the_process_is_as_it_was(two: Sequence[Report]) -> None:
    before = state()
    exported(two[0])
    assert state() == before


def test_a_run_of_the_callers_goes_on(two: Sequence[Report]) -> None:
    theirs = wandb.init(mode="offline", settings=wandb.Settings(console="off"))
    try:
        theirs.log({"before": 1})
        (run,) = exported(two[0])
        assert wandb.run is theirs
        assert run.folder != Path(theirs.dir).parent
        theirs.log({"after": 2})
    finally:
        folder = Path(theirs.dir).parent
        theirs.finish()
        wandb.teardown()
    kept = read(folder)
    assert (kept.summary["before"], kept.summary["after"], kept.exit_code) == (1, 2, 0)
    assert not [name for name in kept.summary if "mean-answer" in name]


def test_wandbs_own_variables_count(two: Sequence[Report], monkeypatch: pytest.MonkeyPatch, elsewhere: Path) -> None:
    (elsewhere / "there").mkdir()
    own = {"MODE": "offline", "PROJECT": "mine", "NAME": "called so", "DIR": str(elsewhere / "there")}
    for name, value in own.items():
        monkeypatch.setenv(f"WANDB_{name}", value)
    place = Path(export(two[0], "wandb").strip())
    assert place.is_relative_to(elsewhere / "there")
    assert read(place)[1:3] == ("called so", "mine")
    monkeypatch.setenv("WANDB_MODE", "disabled")
    assert export(two[0], "wandb") == "nothing was sent: wandb is disabled\n"


@pytest.mark.parametrize("stop", [KeyboardInterrupt, SystemExit, RuntimeError])
def test_an_export_that_stops_leaves_a_failed_run_and_no_process(
    stop: type[BaseException], two: Sequence[Report], monkeypatch: pytest.MonkeyPatch, capsys: Any, elsewhere: Path
) -> None:
    def stopped(*given: Any) -> None:
        raise stop("by somebody")

    monkeypatch.setattr(wandb_runs, "_media", stopped)
    before = state()
    with pytest.raises(stop, match="by somebody" if stop is RuntimeError else "may be incomplete"):
        exported(two)
    assert state() == before
    (folder,) = elsewhere.glob("wandb/offline-run-*")
    assert read(folder).exit_code == 1
    assert "Traceback" not in capsys.readouterr().err


def test_what_wandb_refuses_is_said_in_one_sentence(two: Sequence[Report], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(**given: Any) -> None:
        raise wandb.errors.UsageError("No API key configured.")

    monkeypatch.setattr(wandb, "init", refuse)
    with pytest.raises(UsageError, match=r"^wandb: No API key configured. `wandb login` signs in; --offline needs no"):
        export(two[0], "wandb")


@pytest.mark.parametrize("instead", [None, ModuleType("wandb")], ids=["nothing", "the folder ./wandb"])
def test_without_the_package_one_sentence_says_how_to_get_it(
    instead: ModuleType | None, two: Sequence[Report], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "wandb", instead)
    with pytest.raises(
        UsageError, match=r"^export to wandb needs the package wandb: pip install 'mesascope\[wandb\]'$"
    ):
        export(two[0], "wandb")
