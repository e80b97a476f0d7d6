"""`mesascope run` that is ended from outside: the same command goes on, and no byte of its reports is another."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import pytest
from mesascope.analyses.commands.cli import main
from mesascope.analyses.reports.saving import same_files
from mesascope.analyses.runs.parts import PLACE, PartsOnDisk

CLEAN = {"commit": "c" * 40, "dirty": False}
PLACES = [f"mesascope.analyses.{place}.source_state" for place in ("reports.provenance", "runs.running", "runs.parts")]
PROGRAM = f"""
    import sys
    from importlib import import_module
    for place in {PLACES}:
        module, _, name = place.rpartition(".")
        setattr(import_module(module), name, lambda: {CLEAN})
    from mesascope.analyses.commands.cli import main
    from mesascope.analyses.runs.parts import PartsOnDisk
    keep = PartsOnDisk.keep
    def kept(self, name, part):
        keep(self, name, part)
        print("kept", name, flush=True)
        if name == "untrained-0":
            sys.stdin.readline()  # until the signal comes
    PartsOnDisk.keep = kept
    sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in PLACES:
        monkeypatch.setattr(place, lambda: dict(CLEAN))


@pytest.fixture(scope="module")
def command(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Both probes on one text; token-norms comes first."""
    tokens = tmp_path_factory.mktemp("text") / "tokens.npy"
    np.save(tokens, np.random.default_rng(3).integers(1, 20, (6, 40)))
    probes = ["-p", "token-norms,induction-heads", "--parts", "outliers", "--untrained", "2", "--ablate", "nothing"]
    asked = ["--tokens", str(tokens), "--periods", "6", "--n-sequences", "11", "--figures", "none", "--threads", "1"]
    return ["run", "induction-2layer", *probes, *asked, "--quiet"]


@pytest.fixture(scope="module")
def undisturbed(command: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patched:
        for place in PLACES:
            patched.setattr(place, lambda: dict(CLEAN))
        assert main([*command, "-o", str(out)]) == 0
    return out


def reports_in(out: Path) -> list[Path]:
    return sorted(path.parent for path in out.rglob("report.json"))


def assert_same(one: Path, other: Path) -> None:
    reports = reports_in(one)
    assert [path.relative_to(one) for path in reports] == [path.relative_to(other) for path in reports_in(other)]
    assert len(reports) == 2
    assert all(map(same_files, reports, reports_in(other)))


@pytest.mark.parametrize("ended_by", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_process_that_is_ended_leaves_its_parts_to_the_next(
    ended_by: signal.Signals, command: list[str], undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    line = [sys.executable, "-c", textwrap.dedent(PROGRAM), *command, "-o", str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(line, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        told = []
        while told[-1:] != ["untrained-0"]:
            told.append(process.stdout.readline().split()[1])
        process.send_signal(ended_by)
        process.communicate()
    assert told == ["text", "text", "untrained-0"]  # the text is read for both at once
    assert process.returncode == {"SIGKILL": -9, "SIGTERM": 143, "SIGINT": 130}[ended_by.name]
    assert reports_in(tmp_path) == []
    assert len(list((tmp_path / PLACE).glob("*/*.npz"))) == 3

    names: list[str] = []
    keep = PartsOnDisk.keep
    monkeypatch.setattr(PartsOnDisk, "keep", lambda self, name, part: (names.append(name), keep(self, name, part))[1])
    assert main([*command, "-o", str(tmp_path)]) == 0
    assert names == ["untrained-1", "weights", "repeats-0", "controls-0", "shuffled-repeats"]
    assert_same(undisturbed, tmp_path)
    assert not (tmp_path / ".sweep").exists()


def test_the_order_of_probes_changes_no_byte(command: list[str], undisturbed: Path, tmp_path: Path) -> None:
    turned = [{"token-norms,induction-heads": "induction-heads,token-norms"}.get(word, word) for word in command]
    assert main([*turned, "-o", str(tmp_path)]) == 0
    assert_same(undisturbed, tmp_path)


def test_force_uses_no_parts_and_leaves_none(
    command: list[str], undisturbed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(PartsOnDisk, "keep", None)
    assert main([*command, "-o", str(tmp_path), "--force"]) == 0
    assert_same(undisturbed, tmp_path)


def test_a_dry_run_adds_up_what_a_shared_pass_takes(
    command: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def memory(asked: list[str]) -> list[int]:
        assert main([*asked, "--dry-run", "--json"]) == 0
        return [row["memory_bytes"] for row in json.loads(capsys.readouterr().out)["would_run"]]

    for place, needed in (("token_norms.probe.TokenNorms", 3e9), ("induction_heads.probe.InductionHeads", 2e9)):
        monkeypatch.setattr(f"mesascope.probes.{place}.reading_memory", lambda self, subject, n=int(needed): n)
    assert all(5e9 < needed < 6.5e9 for needed in memory(command))
    assert all(needed < 3e9 for needed in memory([*command, "--context", "20"]))  # not the same windows
