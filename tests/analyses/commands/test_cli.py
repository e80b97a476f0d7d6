"""The command from end to end: what it prints where, which files it leaves, and with which code it ends."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mesascope import probes
from mesascope.analyses.commands import cli, planning, run_command
from mesascope.analyses.reports.threads import blas_threads, threads_set
from mesascope.analyses.runs import verifying
from mesascope.analyses.runs.estimating import Speed
from mesascope.analyses.runs.threads import VARIABLES
from mesascope.analyses.training import training
from mesascope.models.opening.loading import load_all

# a test run started in the background hands its children an ignored Ctrl-C: they take Python's own handler again
ENTRY = """
import signal, sys
from mesascope.analyses.commands.cli import main
signal.signal(signal.SIGINT, signal.default_int_handler)
sys.exit(main())
"""


pytestmark = pytest.mark.usefixtures("toy")


def reports(folder: str = "reports") -> list[Path]:
    return sorted(path.parent for path in Path(folder).rglob("report.json"))


def everything() -> list[str]:
    return sorted(path.as_posix() for path in Path().rglob("*"))


RUN = ["--figures", "none"]


def test_run_prints_the_claim_and_where_the_report_is(
    checkpoint: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", checkpoint(), *RUN]) == 0
    (folder,) = reports()
    out, err = capsys.readouterr()
    assert "the toy found it" in out
    assert str(folder) in out
    assert err == "", "no progress where nobody watches"


def test_a_finished_run_is_found_again_unless_forced_or_different(
    checkpoint: Callable[..., str], toy: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    name = checkpoint()
    assert cli.main(["run", name, *RUN]) == 0
    assert cli.main(["run", name, *RUN]) == 0
    assert "found finished" in capsys.readouterr().out
    assert toy.runs == ["model"]
    assert cli.main(["run", name, *RUN, "--force"]) == 0
    assert cli.main(["run", name, *RUN, "--seed", "1"]) == 0
    assert toy.runs == ["model"] * 3
    assert len(reports()) == 2


def test_changed_sources_never_reuse_a_result(
    checkpoint: Callable[..., str], toy: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = checkpoint()
    assert cli.main(["run", name, *RUN]) == 0
    monkeypatch.setattr("mesascope.analyses.runs.running.source_state", lambda: {"commit": "c" * 40, "dirty": True})
    assert cli.main(["run", name, *RUN]) == 0
    assert toy.runs == ["model"] * 2


def test_several_checkpoints_leave_a_report_each_and_one_over_them(
    checkpoint: Callable[..., str], toy: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    names = [checkpoint(f"m{i}", rate=1.0 + i) for i in range(3)]
    assert cli.main(["run", *names, *RUN, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["reports"]
    assert [report["label"] for report in found] == ["m0", "m1", "m2", "m0+m1+m2"]
    assert [Path(report["folder"]) for report in found if not Path(report["folder"], "report.json").is_file()] == []
    assert cli.main(["run", *names, *RUN, "--json"]) == 0
    assert all(report["found_again"] for report in json.loads(capsys.readouterr().out)["reports"])
    assert toy.runs == ["m0", "m1", "m2"]


def test_a_checkpoint_named_twice_is_measured_once_and_other_architectures_stay_apart(
    checkpoint: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    small, large = checkpoint("small"), checkpoint("large", d_in=4)
    assert cli.main(["run", small, small, large, *RUN, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)["reports"]
    assert [report["label"] for report in found] == ["small", "large"]


def test_one_refused_checkpoint_does_not_stop_the_others(
    checkpoint: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", "gone.safetensors", checkpoint(), *RUN, "--json"]) == 1
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert [report["label"] for report in found["reports"]] == ["model"]
    assert "gone.safetensors: no such file" in found["failed"][0]
    assert err == "mesascope: error: gone.safetensors: no such file; check the path\n"


def test_not_applicable_is_an_answer(checkpoint: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", checkpoint(), "--probe-args", "refuse=true"]) == 0
    expected = "toy does not apply to model: it was told to refuse.\nNo probe applies to model as called.\n"
    assert capsys.readouterr().out == expected
    assert reports() == []


@pytest.mark.parametrize(
    ("given", "expected"), [("scale=2", 2.0), ("scale=2.5,limit=4", 2.5), ("scale=-0.5,limit=none,word=3", -0.5)]
)
def test_probe_settings_take_the_types_of_their_fields(
    checkpoint: Callable[..., str], capsys: pytest.CaptureFixture[str], given: str, expected: float
) -> None:
    assert cli.main(["run", checkpoint(), *RUN, "--probe-args", given, "--json"]) == 0
    (report,) = json.loads(capsys.readouterr().out)["reports"]
    assert report["measures"]["toy_measure"]["estimate"] == expected


def test_dry_run_says_what_would_run_and_writes_nothing(
    checkpoint: Callable[..., str], toy: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    name = checkpoint()
    before = everything()
    assert cli.main(["run", name, "--dry-run"]) == 0
    assert "toy" in capsys.readouterr().out
    assert cli.main(["run", name, "--dry-run", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["would_run"][0]["checkpoint"] == "model"
    assert (everything(), toy.runs) == (before, [])


def test_dry_run_lists_what_would_run_what_must_be_named_and_what_does_not_apply(
    checkpoint: Callable[..., str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    known = {"toy": "toy_module:Toy", "slow-toy": "toy_module:SlowToy"}
    monkeypatch.setattr(probes, "PROBES", {**known, "gd-alignment": "mesascope.probes.gd_alignment.probe:GDAlignment"})
    name = checkpoint()
    assert cli.main(["run", name, "--dry-run", "--probe-args", "refuse=true", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["probe"] for row in found["would_run"]] == ["gd-alignment"]
    assert found["only_when_named"] == [{"probe": "slow-toy", "checkpoint": "model"}]
    assert [row["probe"] for row in found["not_applicable"]] == ["toy"]
    assert cli.main(["run", name, "--dry-run", "--probe-args", "refuse=true"]) == 0
    text = capsys.readouterr().out
    places = [
        text.index(part) for part in ("Would run", "gd-alignment", "Applies, but runs only when named", "-p slow-toy")
    ]
    places += [text.index(part) for part in ("Does not apply", "it was told to refuse.")]
    assert places == sorted(places)
    assert cli.main(["run", name, "--dry-run", "-p", "slow-toy"]) == 0
    text = capsys.readouterr().out
    assert "slow-toy" in text
    assert "only when named" not in text
    assert "Does not apply" not in text


def test_quiet_prints_only_where_the_report_is(
    checkpoint: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", checkpoint(), *RUN, "-q"]) == 0
    assert capsys.readouterr().out.split() == [str(reports()[0])]


def test_verbose_shows_every_measure(checkpoint: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", checkpoint(), *RUN, "-v"]) == 0
    assert "toy_measure" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["run", "lsa-1layr"], 3, "did you mean lsa-1layer"),
        (["run", "gone.safetensors"], 3, "gone.safetensors: no such file"),
        (["run", "nan.safetensors"], 3, "expected finite weights"),
        (["run", "text.safetensors"], 3, "text.safetensors"),
        (["run", "model.safetensors", "--layout", "von-oswald-haiku"], 3, "this is not the layout von-oswald-haiku"),
        (["run", "model.safetensors", "--model-args", "n_layers=2"], 2, "holds its own configuration"),
        (["run", "model.safetensors", "--revision", "seed0"], 2, "holds a single checkpoint"),
        (["run", "model.safetensors", "-p", "tyo"], 2, "probe 'tyo' is not known; did you mean toy"),
        (["run", "model.safetensors", "--probe-args", "scal=1"], 2, "'scal' is not known to toy; did you mean scale"),
        (["run", "model.safetensors", "--probe-args", "scale=big"], 2, "toy: scale = 'big'; expected a number"),
        (
            ["run", "model.safetensors", "--probe-args", "limit=1.5"],
            2,
            "limit = 1.5; expected a whole number of at least 1 or none",
        ),
        (["run", "model.safetensors", "--probe-args", "word=tasks"], 2, "these tasks do not fit"),
        (["run", "model.safetensors", "--tasks", "t.npz"], 2, "setting 'tasks' is not known to toy"),
        (["run", "model.safetensors", "--limit", "0"], 2, "limit = 0; expected a whole number of at least 1"),
        (["run", "model.safetensors", "--device", "gpu"], 2, "device 'gpu' is not known; this machine has cpu"),
        (["run", "model.safetensors", "--device", "meta"], 2, "device 'meta' is not on this machine; it has cpu"),
        (
            ["run", "model.safetensors", "-o", "model.safetensors"],
            2,
            "--output-dir model.safetensors: cannot be",
        ),
        (["run", "model.safetensors", "-o", "model.safetensors/in"], 2, "cannot be written"),
        (["run", "model.safetensors", "--batchsize", "2"], 2, "did you mean --batch-size"),
        (["list", "probe"], 2, "list: 'probe' is not known; did you mean probes"),
        (["figures", "nowhere", "--formats", "pdf,gif"], 2, "expected a list of pdf, svg or png"),
        (["run", "model.safetensors", "--layout", "von-oswald"], 2, "did you mean von-oswald-haiku"),
        (["run", "model.safetensors", "--layout", "mine.tml"], 2, "layout 'mine.tml' is neither known nor a file"),
        (["list", "revisions", "model.safetensors", "x"], 2, "unexpected extra argument (x)"),
        (["show", "nowhere"], 2, "nowhere: no such report"),
        (["show", "."], 2, "holds no report"),
        (["verify", "nowhere"], 2, "nowhere: no such report"),
        (["compare"], 2, "expected at least 2"),
        (["figures", "nowhere"], 2, "nowhere: no such report"),
        (["train", "lsa-1layr"], 2, "recipe 'lsa-1layr' is not known; did you mean lsa-1layer"),
        (["train", "lsa-1layer", "--seeds", "one"], 2, "seeds = 'one'; expected a list of whole numbers"),
    ],
)
def test_a_users_mistake_is_one_line_and_a_code(
    checkpoint: Callable[..., str], capsys: pytest.CaptureFixture[str], words: list[str], code: int, said: str
) -> None:
    checkpoint()
    checkpoint("nan", spoil=float("nan"))
    Path("text.safetensors").write_text("not weights at all, but long enough to have a header")
    assert cli.main(words) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("mesascope: error: ")
    assert err.count("\n") == 1
    assert said in err
    assert reports(".") == []


def test_tasks_that_do_not_fit_are_refused(
    checkpoint: Callable[..., str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "PROBES", {"gd-alignment": "mesascope.probes.gd_alignment.probe:GDAlignment"})
    name = checkpoint()
    for case, (shape, said) in {
        "wide": ((4, 4, 7), "tokens are 7 wide, but the model takes 3"),
        "none": ((0, 4, 3), "at least one task"),
        "bare": ((4, 1, 3), "one context token"),
    }.items():
        np.savez(f"{case}.npz", inputs=np.zeros(shape), targets=np.zeros(shape[0]))
        assert cli.main(["run", name, "--tasks", f"{case}.npz"]) == 2
        assert said in capsys.readouterr().err
    assert reports() == []


def test_what_nobody_expected_keeps_its_traceback(checkpoint: Callable[..., str]) -> None:
    with pytest.raises(ZeroDivisionError):
        cli.main(["run", checkpoint(), "--probe-args", "word=bug"])
    assert reports() == []


def test_a_full_disk_is_an_error_and_leaves_nothing(
    checkpoint: Callable[..., str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: Path, content: bytes) -> int:
        raise OSError(28, "No space left on device")

    name = checkpoint()
    monkeypatch.setattr(Path, "write_bytes", full)
    assert cli.main(["run", name, *RUN]) == 2
    assert "No space left on device" in capsys.readouterr().err
    assert [path for path in Path("reports").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_an_interrupted_run_stops_cleanly(checkpoint: Callable[..., str], number: int, code: int) -> None:
    """In a process of its own, with the real probe, in the middle of its measurement."""
    name = checkpoint()
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", ENTRY, "run", name, "-p", "gd-alignment"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    limit = time.monotonic() + 60
    while not Path("reports").is_dir() and time.monotonic() < limit:  # made right before measuring begins
        time.sleep(0.02)
    time.sleep(0.3)
    process.send_signal(number)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (code, "")
    assert err.count("\n") == 1
    assert "no half-written report" in err
    assert [path for path in Path("reports").rglob("*") if path.is_file()] == []


def test_the_threads_and_the_signal_handler_are_left_as_they_were(checkpoint: Callable[..., str]) -> None:
    before = (torch.get_num_threads(), signal.getsignal(signal.SIGTERM))
    assert cli.main(["run", checkpoint(), *RUN]) == 0
    assert (torch.get_num_threads(), signal.getsignal(signal.SIGTERM)) == before


def test_threads_hold_for_the_run_are_recorded_and_verified(
    checkpoint: Callable[..., str], toy: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """torch and BLAS, while the checkpoint opens and while it is measured; then both are as they were."""
    seen: list[tuple[int, int | None]] = []

    def noting(function: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*arguments: Any, **keywords: Any) -> Any:
            seen.append((torch.get_num_threads(), blas_threads()))
            return function(*arguments, **keywords)

        return noted

    name, before = checkpoint(), (torch.get_num_threads(), blas_threads())
    for module in (planning, verifying):
        monkeypatch.setattr(module, "load_all", noting(load_all))
    monkeypatch.setattr(toy, "measure", noting(toy.measure))
    assert cli.main(["run", name, *RUN, "--threads", "3"]) == 0
    assert seen == [(3, 3)] * 2
    (folder,) = reports()
    environment = json.loads((folder / "report.json").read_text())["provenance"]["environment"]
    assert (environment["threads"], environment["blas_threads"]) == (3, 3)
    assert cli.main(["verify", str(folder)]) == 0
    assert "bit-identical" in capsys.readouterr().out
    assert seen == [(3, 3)] * 4
    assert (torch.get_num_threads(), blas_threads()) == before


def test_a_run_on_other_threads_finds_the_finished_report(
    checkpoint: Callable[..., str], toy: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """Threads are of the environment, like versions and the machine, and no part of the key."""
    name = checkpoint()
    assert cli.main(["run", name, *RUN, "--threads", "1"]) == 0
    assert cli.main(["run", name, *RUN, "--threads", "2"]) == 0
    assert "found finished" in capsys.readouterr().out
    assert toy.runs == ["model"]


def test_dry_run_estimates_time_and_memory(
    checkpoint: Callable[..., str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """By the model's size, or by a batch that is timed; of a probe that says nothing of its cost it is unknown."""
    known = {"toy": "toy_module:Toy", "gd-alignment": "mesascope.probes.gd_alignment.probe:GDAlignment"}
    monkeypatch.setattr(probes, "PROBES", known)
    timed: list[Any] = []
    monkeypatch.setattr(run_command, "timed_speed", lambda *given: timed.append(given) or Speed(0, 0, 0, 0.01))
    dry = ["run", checkpoint(), "--dry-run", "--threads", "2", "--figures", "none", "--limit", "100"]
    assert cli.main([*dry, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    rows = {row["probe"]: row for row in found["would_run"]}
    assert "40 billion operations a second on each thread" in found["time"]
    assert [rows["toy"][name] for name in ("seconds", "memory_bytes", "finished")] == [None, None, None]
    assert [rows[name]["threads"] for name in rows] == [2, 2]
    assert 0 < rows["gd-alignment"]["seconds"] < 100
    assert 1e8 < rows["gd-alignment"]["memory_bytes"] < 1e9
    assert timed == []
    assert cli.main(dry) == 0
    out = capsys.readouterr().out
    assert re.search(r"gd-alignment +model +2 +about 0\.\d+ GB +about \d+ s +no *\n", out)
    assert re.search(r"toy +model +2 +unknown +unknown +no *\n", out)
    assert cli.main([*dry, "--time", "-p", "gd-alignment"]) == 0
    out = capsys.readouterr().out
    assert "about 25 min" in out, "150,000 operations of 0.01 s"
    assert "one batch was timed on this machine" in out
    assert len(timed) == 1


def test_time_without_a_dry_run_is_refused(checkpoint: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["run", checkpoint(), *RUN, "--time"]) == 2
    assert "--time without --dry-run; expected both" in capsys.readouterr().err
    assert reports() == []


def test_a_training_takes_threads_too(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """Without them one, as all shipped recipes are small."""
    seen: list[tuple[int, int | None]] = []
    monkeypatch.setattr(training, "train", lambda *given: seen.append((torch.get_num_threads(), blas_threads())))
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    with threads_set(2, 2):
        assert cli.main(["train", "lsa-1layer"]) == 0
        assert cli.main(["train", "induction-2layer", "--threads", "3"]) == 0
        assert cli.main(["train", "lsa-1layer", "--threads", "0"]) == 2
    assert seen == [(1, 1), (3, 3)]
    assert "train: threads = 0; expected a whole number from 1 to 1024" in capsys.readouterr().err
