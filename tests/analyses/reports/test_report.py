"""A report's folder: the same bytes for the same inputs, complete or absent, and read back as it was."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from mesascope.analyses.reports import saving
from mesascope.analyses.reports.escaping import slug
from mesascope.analyses.reports.record import by_verdict
from mesascope.analyses.reports.report import Report
from mesascope.analyses.reports.saving import figures_in, files_of, lacks_figures, same_files
from mesascope.analyses.runs.running import run
from mesascope.data.errors import UsageError
from mesascope.probes.drawing import single_numbers
from safetensors.numpy import load_file


@pytest.fixture
def report(mean_answer: Any, make_subject: Any) -> Report:
    return run(make_subject(), mean_answer())


def contents(folder: Path) -> dict[str, bytes]:
    return {name: (folder / name).read_bytes() for name in files_of(folder)}


def leftovers(out: Path) -> list[Path]:
    return [path for path in out.rglob("*") if path.name.startswith(".")]


def test_two_runs_write_the_same_bytes_wherever_they_write(mean_answer: Any, make_subject: Any, tmp_path: Path) -> None:
    first = run(make_subject(), mean_answer()).save(tmp_path / "a")
    second = run(make_subject(), mean_answer()).save(tmp_path / "b" / "deeper")
    assert contents(first) == contents(second)
    assert {"report.json", "measures.csv", "arrays.safetensors", "report.html", "tables/measures.tex"} <= set(
        contents(first)
    )
    assert {"figures/measures.pdf", "figures/measures.svg", "figures/measures.png"} <= set(contents(first))
    assert (first / "timing.json").is_file()
    assert first.relative_to(tmp_path / "a") == Path("built", "mean-answer", first.name)


DRAWN = {".png", ".csv", ".txt", ".tex"}


@pytest.mark.parametrize(("figures", "kinds"), [("none", set()), ("main", DRAWN), ("png", DRAWN)])
def test_figures_are_those_asked_for(report: Report, tmp_path: Path, figures: str, kinds: set[str]) -> None:
    folder = report.save(tmp_path, figures=figures)
    assert {path.suffix for path in (folder / "figures").glob("*")} == kinds


def test_a_folder_tells_which_figures_it_has(report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    build = single_numbers.measures_figure
    monkeypatch.setattr(single_numbers, "FIGURES", {"one": build, "two": build})
    kinds = ["paper", "png", "main", "none"]  # the most first
    for place, kind in enumerate(kinds):
        folder = report.save(tmp_path / kind, figures=kind)
        assert figures_in(folder) == kind
        assert [lacks_figures(folder, wanted) for wanted in kinds] == [i < place for i in range(4)]


def test_a_loaded_report_is_the_saved_one(report: Report, tmp_path: Path) -> None:
    folder = report.save(tmp_path / "a")
    loaded = Report.load(folder)
    assert loaded.record() == report.record()
    assert loaded.claim == report.claim
    for name, array in report.arrays.items():
        np.testing.assert_array_equal(loaded.arrays[name], array)
    assert same_files(loaded.save(tmp_path / "b"), folder)
    assert loaded.timing == report.timing
    assert loaded.timing["wall_seconds"] >= 0


def test_loading_needs_no_torch(report: Report, tmp_path: Path) -> None:
    folder = report.save(tmp_path, figures="none")
    code = (
        "import sys; from mesascope.analyses.reports.record import by_verdict;"
        " from mesascope.analyses.reports.report import Report;"
        f" Report.load({str(folder)!r}).to_frame(); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_json_is_strict_and_every_number_is_whole(report: Report, tmp_path: Path) -> None:
    text = (report.save(tmp_path, figures="none") / "report.json").read_text(encoding="ascii")

    def refuse(word: str) -> None:
        raise AssertionError(word)

    record = json.loads(text, parse_constant=refuse)
    assert record["measures"]["by_head"]["values"][0][1] is None
    assert record["measures"]["answer"]["values"] == report.measures["answer"].estimate
    assert list(record)[:6] == ["format", "label", "probe", "probe_version", "key", "claim"]


def test_raw_values_are_a_sample_drawn_with_the_seed(mean_answer: Any, make_subject: Any, tmp_path: Path) -> None:
    report = run(make_subject(), mean_answer())
    folder = report.save(tmp_path / "a", figures="none", keep_samples=10)
    arrays = load_file(folder / "arrays.safetensors")
    assert arrays["answer"].shape == (10,)
    assert arrays["weights"].shape == (3, 3)  # has no tasks
    places = [int(np.flatnonzero(report.arrays["answer"] == value)[0]) for value in arrays["answer"]]
    assert places == sorted(places)
    np.testing.assert_array_equal(report.arrays["loss"][places], arrays["loss"])  # the same tasks in every array
    loaded = Report.load(folder)
    assert loaded.sample == {"axis": "task", "kept": 10, "of": 64}
    assert same_files(loaded.save(tmp_path / "b", figures="none"), folder)
    other = run(make_subject(), mean_answer(), seed=1)
    drawn = load_file(other.save(tmp_path, figures="none", keep_samples=10) / "arrays.safetensors")["answer"]
    assert [int(np.flatnonzero(other.arrays["answer"] == value)[0]) for value in drawn] != places


@pytest.mark.parametrize("keywords", [{"figures": "pdf"}, {"keep_samples": 0}])
def test_wrong_options_are_refused(report: Report, tmp_path: Path, keywords: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        report.save(tmp_path, **keywords)
    assert not list(tmp_path.iterdir())


# -- what can go wrong while writing ----------------------------------------------------------------------------------


def test_an_identical_folder_is_kept(report: Report, tmp_path: Path) -> None:
    folder = report.save(tmp_path, figures="none")
    before = folder.stat().st_ino
    again = replace(report, timing={"wall_seconds": 99})
    assert again.save(tmp_path, figures="none") == folder
    assert folder.stat().st_ino == before
    assert Report.load(folder).timing == report.timing


def test_a_report_with_other_figures_takes_the_place(report: Report, tmp_path: Path) -> None:
    folder = report.save(tmp_path, figures="none")
    report.save(tmp_path, figures="png")
    assert (folder / "figures" / "measures.png").is_file()
    assert leftovers(tmp_path) == []


@pytest.mark.parametrize("write", ["_write", "safetensors_bytes", "_flush", "same_files"])
def test_a_full_disk_leaves_nothing(
    report: Report, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, write: str
) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(28, "No space left on device")

    if write == "same_files":  # only asked where a report is already
        report.save(tmp_path, figures="png")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()}
    monkeypatch.setattr(saving, write, full)
    with pytest.raises(UsageError, match="No space left on device") as error:
        report.save(tmp_path, figures="none")
    assert "\n" not in str(error.value)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*") if path.is_file()} == before
    assert leftovers(tmp_path) == []


def test_a_limit_on_file_size_leaves_nothing(report: Report, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4_000, hard))
    try:
        with pytest.raises(UsageError):
            report.save(tmp_path, figures="none")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]
    assert leftovers(tmp_path) == []


def test_an_output_that_is_a_file_is_one_line(report: Report, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UsageError, match=r"out: the report cannot be written"):
        report.save(tmp_path / "out")
    assert (tmp_path / "out").read_text() == "mine"


@pytest.mark.skipif(os.geteuid() == 0 and not Path("/proc").is_dir(), reason="root ignores mode bits")
def test_a_folder_that_cannot_be_written_is_one_line(report: Report) -> None:
    out = Path("/proc/self") if os.geteuid() == 0 else Path("/")
    with pytest.raises(UsageError, match="the report cannot be written"):
        report.save(out, figures="none")


SAVE_FOR_EVER = """
import json, os, signal, sys, time
from mesascope.analyses.reports import saving
from mesascope.analyses.reports.report import Report

report, out = Report.load(sys.argv[1]), sys.argv[2]


def start(first, saves=10**9):
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            for n in range(first, first + saves):
                report.save(out, "none", keep_samples=10 + n % 2)
            code = 0
        finally:
            os._exit(code)
    return pid
"""
TORN = 6
KILL = (
    SAVE_FOR_EVER
    + f"""
torn = kills = 0
while torn < {TORN} and kills < 1000:
    pid = start(kills)
    time.sleep(0.005 * (kills % 20))
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    names = [name for folder, _, _ in os.walk(out) if folder.count("/") == out.count("/") + 2
             for name in os.listdir(folder)]
    torn += any(name.startswith(".mesascope") for name in names)
    kills += 1
    saving.clear_leftovers(saving.Path(out))
    Report.load(next(saving.Path(out).rglob("report.json")).parent)
print(json.dumps(torn))
"""
)
"""Kills in the middle of a save until some have hit one: how long that takes depends on how busy the machine is."""
TOGETHER = (
    SAVE_FOR_EVER
    + """
pids = [start(n, 4) for n in range(4)]
print(json.dumps([os.waitpid(pid, 0)[1] for pid in pids]))
"""
)


def in_another_process(code: str, *arguments: Path) -> list[Any]:
    """Run code that forks; this process has threads, so it must not."""
    line = [sys.executable, "-c", code, *map(str, arguments)]
    ended = subprocess.run(line, capture_output=True, check=True, text=True, timeout=900)
    assert ended.stderr == ""
    return [json.loads(text) for text in ended.stdout.splitlines()]


def test_kill_while_saving_leaves_a_whole_report(report: Report, tmp_path: Path) -> None:
    """Each save replaces the one before, so kills hit building, stepping aside and renaming."""
    whole = variants(report, tmp_path)
    start, out = report.save(tmp_path / "start", figures="none"), tmp_path / "out"
    report.save(out, figures="none")
    assert in_another_process(KILL, start, out) == [TORN]
    assert leftovers(out) == []
    assert contents(out / report.folder) in whole
    assert contents(report.save(out, figures="none")) == whole[0]


def test_several_saves_at_once_do_not_harm_each_other(report: Report, tmp_path: Path) -> None:
    start, out = report.save(tmp_path / "start", figures="none"), tmp_path / "out"
    assert in_another_process(TOGETHER, start, out) == [[0] * 4]  # nobody ended by an error
    assert contents(report.save(out, figures="none")) in variants(report, tmp_path)
    assert leftovers(out) == []


def variants(report: Report, tmp_path: Path) -> list[dict[str, bytes]]:
    """What may lie in the folder of one key: all values, or a sample of 10 or of 11."""
    kept = (64, 10, 11)
    return [contents(report.save(tmp_path / str(n), figures="none", keep_samples=n)) for n in kept]


def test_what_was_set_aside_by_a_dead_process_comes_back(report: Report, tmp_path: Path) -> None:
    folder = report.save(tmp_path, figures="none")
    before = contents(folder)
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    host = saving._host()
    folder.rename(folder.with_name(f".mesascope-old-{host}-{ended.pid}-00000000-{folder.name}"))
    folder.with_name(f".mesascope-new-{host}-{ended.pid}-00000000-{folder.name}").mkdir()
    alive = folder.with_name(f".mesascope-new-{host}-{os.getpid()}-00000000-{folder.name}")
    elsewhere = folder.with_name(f".mesascope-new-another_host-{ended.pid}-00000000-{folder.name}")
    for other in (alive, elsewhere):
        other.mkdir()
    saving.clear_leftovers(tmp_path)
    assert contents(folder) == before
    assert sorted(leftovers(tmp_path)) == sorted([alive, elsewhere])


# -- what can be wrong with a folder ----------------------------------------------------------------------------------


def edited(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        record = json.loads((folder / "report.json").read_text())
        change(record)
        (folder / "report.json").write_text(json.dumps(record))

    return edit


DAMAGES: dict[str, tuple[str, Callable[[Path], Any]]] = {
    "no json": ("report.json", lambda folder: (folder / "report.json").unlink()),
    "half a json": ("report.json", lambda folder: (folder / "report.json").write_text('{"format"')),
    "not text": ("report.json", lambda folder: (folder / "report.json").write_bytes(b"\xff\xfe")),
    "a list": ("report.json", lambda folder: (folder / "report.json").write_text("[]")),
    "NaN": ("report.json", lambda folder: (folder / "report.json").write_text('{"format": NaN}')),
    "another format": ("report.json", edited(lambda record: record.update(format="mesascope-report-9"))),
    "no measures": ("report.json", edited(lambda record: record.pop("measures"))),
    "a key that climbs": ("report.json", edited(lambda record: record.update(key="../../../elsewhere"))),
    "a seed in words": ("report.json", edited(lambda record: record.update(seed="one"))),
    "no sources": ("report.json", edited(lambda record: record.update(sources=[]))),
    "half a source": ("report.json", edited(lambda record: record["sources"][0].pop("facts"))),
    "no environment": ("report.json", edited(lambda record: record["provenance"].pop("environment"))),
    "another shape": ("report.json", edited(lambda r: r["measures"]["answer"].update(values=[1, 2]))),
    "words for numbers": ("report.json", edited(lambda r: r["measures"]["answer"].update(values="much"))),
    "another label": ("report.json", edited(lambda record: record.update(label="somebody else's"))),
    "no arrays": ("arrays.safetensors", lambda folder: (folder / "arrays.safetensors").unlink()),
    "half an array": ("arrays.safetensors", lambda folder: os.truncate(folder / "arrays.safetensors", 100)),
    "missing array": ("arrays.safetensors", edited(lambda record: record["arrays"].update(more=[3]))),
    "broken timing": ("timing.json", lambda folder: (folder / "timing.json").write_text("{")),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_folder_is_one_line_that_names_the_file(report: Report, tmp_path: Path, damage: str) -> None:
    folder = report.save(tmp_path, figures="none")
    file, harm = DAMAGES[damage]
    harm(folder)
    with pytest.raises(UsageError, match=file) as error:
        Report.load(folder)
    assert "\n" not in str(error.value)


# -- names ------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["a", "lsa-1layer-seed0-step500", "model_2.bin"])
def test_plain_names_stay(name: str) -> None:
    assert slug(name) == name


@pytest.mark.parametrize(
    "name", ["../../etc", "/abs", "a/b", ".hidden", "-rf", "", "x" * 300, "a\0b", "é", "a b", "\ud800"]
)
def test_other_names_are_one_harmless_part_of_a_path(name: str) -> None:
    made = slug(name)
    assert made
    assert len(made) < 100
    assert not made.startswith((".", "-"))
    assert set(made) <= set("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
    assert made != slug(name + "!")


def test_a_hostile_name_stays_below_the_output_folder(mean_answer: Any, make_subject: Any, tmp_path: Path) -> None:
    report = run(make_subject(name="../../../evil"), mean_answer())
    folder = report.save(tmp_path / "out", figures="none")
    assert folder.resolve().is_relative_to((tmp_path / "out").resolve())
    assert [path.name for path in tmp_path.iterdir()] == ["out"]


def test_plot_draws_on_the_given_axes(report: Report) -> None:
    from matplotlib.figure import Figure

    ax = Figure().subplots()
    report.plot(ax=ax)
    assert ax.has_data()


def test_many_heads_of_one_verdict_are_only_counted(report: Report) -> None:
    names = {f"L{layer}H{head}": "none" for layer in range(5) for head in range(12)}
    assert by_verdict(replace(report, heads=names | {"L9H1": "induction"})) == {
        "induction": ["L9H1"],
        "none": ["60 heads"],
    }
