"""`mesascope sweep` from end to end, in this process and in workers: what it prints, and its exit codes."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from mesascope.analyses.commands import cli
from mesascope.analyses.commands.suggesting import ENGINES
from mesascope.analyses.sweeps import choosing
from mesascope.analyses.sweeps.choosing import engine_named
from mesascope.analyses.sweeps.engines import inline
from mesascope.models import gd_transformer, save_checkpoint

ENTRY = "import sys; from mesascope.analyses.commands.cli import main; sys.exit(main())"
SWEEP = ["-p", "toy", "--figures", "none", "--engine", "inline"]


@pytest.fixture
def family(tmp_path: Path) -> str:
    """Two seeds with two steps each."""
    made = {f"seed{s}/step{k}/": gd_transformer(3, 1.0 + s + k, 2) for s in (0, 1) for k in (0, 5)}
    tensors = {f"{prefix}{name}": tensor for prefix, one in made.items() for name, tensor in one.state_dict().items()}
    save_checkpoint(tmp_path / "family.safetensors", made["seed0/step0/"].config, tensors)
    return "family.safetensors"


pytestmark = pytest.mark.usefixtures("toy")


def test_a_sweep_ends_with_the_card_over_all_and_what_became_of_them(
    family: str, toy: type, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["sweep", family, *SWEEP]) == 0
    out, err = capsys.readouterr()
    assert err == ""
    assert "At step 5: the toy found it" in out
    assert "4 checkpoints: 4 done.\n" in out
    assert out.endswith("All reports in reports: reports/index.html\n")
    assert len(toy.runs) == 4
    assert cli.main(["sweep", family, *SWEEP, "-q"]) == 0
    (folder,) = capsys.readouterr().out.splitlines()
    assert Path(folder, "report.json").is_file()
    assert folder.startswith("reports/family/toy/")
    assert len(toy.runs) == 4, "found again"
    assert cli.main(["run", family, "--revision", "all", "-p", "toy", "--figures", "none", "-q"]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == folder, "run finds what a sweep has made"
    assert len(toy.runs) == 4


def test_json_is_alone_on_stdout(family: str, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["sweep", family, "missing-words.safetensors", *SWEEP, "--json", "--revisions", "step{0,5}", "--seeds", "0"]
    Path("missing-words.safetensors").write_bytes(b"nothing")
    assert cli.main(words) == 1
    out, err = capsys.readouterr()
    found = json.loads(out)
    assert [row["state"] for row in found["rows"]] == ["done", "done", "failed", "failed"]
    assert [report["label"] for report in found["reports"]] == ["family"]
    assert (found["index"], found["not_applicable"]) == ("reports/index.html", {})
    assert err.count("mesascope: warning: missing-words.safetensors at step") == 2


def test_failures_are_said_and_tried_again_when_asked(
    family: str, toy: type, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["sweep", family, *SWEEP, "--word", "bug", "--seeds", "1"]) == 1
    out, err = capsys.readouterr()
    assert err.splitlines() == [
        f"mesascope: warning: {family} at seed1-step{step}: ZeroDivisionError: nobody expected this" for step in (0, 5)
    ]
    assert out == "2 checkpoints: 2 failed.\n`--retry-failed` measures again what failed.\n"
    assert cli.main(["sweep", family, *SWEEP, "--word", "bug", "--seeds", "1"]) == 1
    assert len(toy.runs) == 2
    assert cli.main(["sweep", family, *SWEEP, "--word", "bug", "--seeds", "1", "--retry-failed"]) == 1
    assert len(toy.runs) == 4


def test_what_does_not_apply_is_no_failure(family: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sweep", family, *SWEEP, "--refuse"]) == 0
    out = capsys.readouterr().out
    assert out == "toy does not apply to 4 checkpoints: it was told to refuse.\n4 checkpoints: 4 done.\n"


def test_a_dry_run_and_the_state_say_what_is_there(family: str, toy: type, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["sweep", family, *SWEEP, "--dry-run"]) == 0
    assert "4 checkpoints, each with toy.\nWould run (about " in capsys.readouterr().out
    assert not Path("reports").exists()
    assert cli.main(["sweep", family, *SWEEP, "--shard", "0/2"]) == 0
    out = capsys.readouterr().out
    assert "The reports over several checkpoints are made by the share that finishes last.\n" in out
    n = len(toy.runs)
    assert f"4 checkpoints: {n} done, {4 - n} left." in out
    assert cli.main(["sweep", family, *SWEEP, "--dry-run", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (len(found["would_run"]), len(found["finished"])) == (4 - n, n)
    assert found["bytes_to_read"] == Path(family).stat().st_size
    assert cli.main(["sweep", "reports", "--status"]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"4 checkpoints: {n} done, {4 - n} left.\nLeft: family.safetensors at seed")
    assert cli.main(["sweep", "reports", "--status", "--json"]) == 0
    assert [row["state"] for row in json.loads(capsys.readouterr().out)].count("pending") == 4 - n
    assert len(toy.runs) == n
    assert cli.main(["sweep", family, *SWEEP, "--word", "bug", "--shard", "0/1"]) == 1
    capsys.readouterr()
    assert cli.main(["sweep", "reports", "--status"]) == 1
    out = capsys.readouterr().out
    assert "4 failed" in out
    assert "ZeroDivisionError: nobody expected this" in out


def test_an_audit_compares_weights(
    family: str, checkpoint: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    names = [checkpoint("a"), checkpoint("b"), checkpoint("c", rate=2.0)]
    assert cli.main(["sweep", *names, "--audit"]) == 0
    out = capsys.readouterr().out
    assert out.startswith("3 checkpoints, 2 of them distinct.\nThe same weights: a.safetensors, b.safetensors\n")
    assert cli.main(["sweep", family, "--audit", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["checkpoints"] == 4
    assert not Path("reports").exists()


def test_status_and_audit_need_no_torch(family: str) -> None:
    assert cli.main(["sweep", family, *SWEEP, "-q"]) == 0
    code = f"""if True:
        import sys
        from mesascope.analyses.commands.cli import main
        assert main(["sweep", "reports", "--status"]) == 0
        assert main(["sweep", {family!r}, "--audit"]) == 0
        assert "torch" not in sys.modules
    """
    assert subprocess.run([sys.executable, "-P", "-c", code], check=False).returncode == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["none-such"], 3, "none-such: neither a file nor a shipped checkpoint"),
        (["family.safetensors", "--revisions", "step7"], 2, "revision 'step7' is not in family.safetensors"),
        (["family.safetensors", "--revisions", "step{7"], 2, "braces that do not pair"),
        (["family.safetensors", "--seeds", "5"], 2, "seeds 5: not in family.safetensors"),
        (["family.safetensors", "--engine", "lokal"], 2, "engine 'lokal' is not known; did you mean local"),
        (["family.safetensors", "-p", "tyo"], 2, "probe 'tyo' is not known"),
        (["family.safetensors", "--device", "tpu"], 2, "device 'tpu' is not"),
        (["family.safetensors", "--output-dir", "family.safetensors"], 2, "cannot be written"),
        (["family.safetensors", "--scale", "much"], 2, "scale = 'much'; expected a number"),
        (["nowhere", "--status"], 2, "expected the output folder of `mesascope sweep`"),
    ],
)
@pytest.mark.usefixtures("family")
def test_mistakes_end_it_before_anything_is_measured(
    words: list[str], code: int, said: str, toy: type, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["sweep", "--figures", "none", "-p", "toy", "--engine", "inline", *words]) == code
    out, err = capsys.readouterr()
    assert (out, toy.runs) == ("", [])
    assert err.count("\n") == 1
    assert said in err


def test_an_interrupt_says_how_to_go_on(
    family: str, toy: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*arguments: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(toy, "measure", interrupted)
    assert cli.main(["sweep", family, *SWEEP]) == 130
    said = "mesascope: interrupted (Ctrl-C); finished reports stay, and the same command goes on from there\n"
    assert capsys.readouterr().err == said


def test_jobs_that_are_not_waited_for(
    family: str, toy: type, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    given: list[Any] = []

    def submits(work: Any, tasks: Any, settings: Any) -> Any:
        given.append(settings)
        settings.submitted(["7_0", "7_1"])
        if settings.wait:  # one of two jobs was killed
            settings.say("no job is left")
            yield tasks[0], work(tasks[0])

    monkeypatch.setitem(choosing.BUILT_IN, "slurm", submits)
    words = ["sweep", family, "-p", "toy", "--figures", "none", "--engine", "slurm"]
    asked = ["--slurm", "partition=gpu,time=90", "--workers", "2", "--timeout", "30m", "--device", "cuda", "-o", "far"]
    assert cli.main([*words, *asked]) == 0
    assert (given[0].slurm, given[0].workers, given[0].timeout) == ({"partition": "gpu", "time": "90"}, 2, 1800.0)
    assert given[0].wait is None
    assert capsys.readouterr().out.splitlines() == [
        "Submitted to Slurm: 7_0, 7_1. They go on without this program.",
        "Look with `mesascope sweep far --status` or `squeue -j 7`; `scancel 7` ends them.",
        "4 checkpoints: 4 left.",
        "The reports over several checkpoints are made by the job that finishes last.",
    ]
    assert cli.main([*words, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["jobs"] == ["7_0", "7_1"]
    assert cli.main([*words, "-q"]) == 0
    assert capsys.readouterr().out == "7_0\n7_1\n"
    assert toy.runs == []
    assert cli.main([*words, "--wait"]) == 1, "a lost share leaves something"
    out, err = capsys.readouterr()
    assert "4 checkpoints: 1 done, 3 left." in out
    assert "no job is left" in err
    monkeypatch.setattr("mesascope.analyses.sweeps.sweeping.local", inline)  # which a job does with a worker
    given[-1].share((0, 1))
    assert len(toy.runs) == 4
    capsys.readouterr()
    assert cli.main(["sweep", "reports", "--status"]) == 0
    assert capsys.readouterr().out == "4 checkpoints: 4 done.\n"


def test_the_engines_that_a_shell_suggests_are_there() -> None:
    assert all(callable(engine_named(name)) for name in ENGINES)


def test_workers_measure_and_a_signal_ends_them(tmp_path: Path) -> None:
    """A real process with real workers: it is asked to leave while they work, and goes on when it is called again."""
    words = "sweep lsa-1layer -p gd-certificate --figures none --seeds 0 --revisions step{0,500} --workers 1"
    command = [sys.executable, "-P", "-c", ENTRY, *words.split()]
    process = subprocess.Popen(command, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    while not (tmp_path / "reports/.sweep/plan").exists() and process.poll() is None:
        time.sleep(0.02)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 143
    # a worker that is cut off while its process begins may say so behind it
    assert "mesascope: terminated (SIGTERM); finished reports stay, and the same command goes on from there\n" in err
    again = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert (again.returncode, again.stderr) == (0, "")
    assert "2 checkpoints: 2 done." in again.stdout


def test_twins_are_named_at_the_end_and_in_the_state(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = {f"seed0/step{k}/": gd_transformer(3, 1.0 + min(k, 5), 2) for k in (0, 5, 9)}
    tensors = {f"{prefix}{name}": tensor for prefix, one in made.items() for name, tensor in one.state_dict().items()}
    save_checkpoint(tmp_path / "a.safetensors", made["seed0/step0/"].config, tensors)
    said = "3 checkpoints: 3 done.\nThe same weights: a.safetensors at seed0-step9 as a.safetensors at seed0-step5.\n"
    assert cli.main(["sweep", "a.safetensors", *SWEEP]) == 0
    assert said in capsys.readouterr().out
    assert cli.main(["sweep", "reports", "--status"]) == 0
    assert capsys.readouterr().out == said
