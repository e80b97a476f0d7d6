"""`mesascope selftest`: its table, its JSON, its exit code, and that it needs nothing but what is installed."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from mesascope.analyses.commands import cli, selftest_command, terminal
from mesascope.analyses.selftest import running
from mesascope.analyses.selftest.agreement import Agreement, Check
from mesascope.analyses.selftest.running import CHECKS, Row
from mesascope.probes.algorithms import kernels

TYPES = {"str": str, "float": float, "int": int, "bool": bool, "None": type(None)}


@pytest.fixture
def few(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two identities, one of a broken number, one mean."""
    chosen = [check for check in CHECKS if check.name in ("ridge", "linear kernel", "uniform tasks")]
    monkeypatch.setattr(running, "CHECKS", chosen)


def answer(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    assert cli.main(["selftest", *words]) == code
    out, err = capsys.readouterr()
    assert err == ""
    return out


@pytest.mark.usefixtures("few")
def test_every_check_has_a_row(capsys: pytest.CaptureFixture[str]) -> None:
    lines = answer(capsys).splitlines()
    assert lines[0].strip() == "Self-test on cpu, in float64"
    rows = {line.split("  ")[0].strip(): line for line in lines if line.rstrip().endswith("yes")}
    assert list(rows) == ["uniform tasks", "ridge", "linear kernel"]
    assert rows["uniform tasks"].split()[-2:] == ["10000", "yes"]
    assert "1e-10" in rows["ridge"]
    assert "Akyürek et al. 2023" in rows["ridge"]
    assert lines[-1].startswith("All 3 checks passed. Largest error of an identity: ")
    assert lines[-1].endswith("(ridge)")


@pytest.mark.usefixtures("few")
def test_a_narrow_terminal_has_no_room_for_papers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for place in (selftest_command, terminal):
        monkeypatch.setattr(place, "width", lambda: 84)
    out = answer(capsys)
    assert out.splitlines()[2].split() == ["check", "compared", "error", "tolerance", "draws", "passed"]
    assert "its filter = mean of" in out
    assert "Akyürek" not in out
    assert max(map(len, out.splitlines()[:-1])) <= 84


@pytest.mark.usefixtures("few")
def test_a_broken_formula_is_named_and_ends_with_1(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    kept = kernels.ridge
    monkeypatch.setattr(kernels, "ridge", lambda *given: kept(*given) * (1 + 1e-9))
    lines = answer(capsys, code=1).splitlines()
    assert [line.split("  ")[0].strip() for line in lines if line.rstrip().endswith("NO")] == ["linear kernel"]
    assert lines[-1] == "1 of 3 checks failed: linear kernel"
    found = json.loads(answer(capsys, "--json", code=1))
    assert not found["passed"]
    assert [row["check"] for row in found["checks"] if not row["passed"]] == ["linear kernel"]


def test_a_check_that_cannot_run_says_why(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def broken(_: torch.device) -> Any:
        raise RuntimeError("no LAPACK\x1b[31m here")

    monkeypatch.setattr(running, "CHECKS", (Check("lost", "ours", "theirs", "source", broken),))
    assert "lost could not run: RuntimeError: no LAPACK[31m here" in answer(capsys, code=1)
    (row,) = json.loads(answer(capsys, "--json", code=1))["checks"]
    assert (row["error"], row["tolerance"], row["draws"], row["passed"]) == (None, None, None, False)
    assert row["problem"].startswith("RuntimeError: no LAPACK")


@pytest.mark.usefixtures("few")
def test_json_has_a_typed_row_for_each_check(capsys: pytest.CaptureFixture[str]) -> None:
    found = json.loads(answer(capsys, "--json", "-q"))
    assert set(found) == {"version", "device", "environment", "passed", "checks"}
    assert (found["passed"], found["device"]) == (True, "cpu")
    assert found["environment"]["packages"]["torch"]
    for row in found["checks"]:
        assert set(row) == set(Row.__annotations__)
        for name, annotation in Row.__annotations__.items():
            assert type(row[name]) in [TYPES[kind] for kind in annotation.split(" | ")], name
        assert row["passed"] == (row["error"] <= row["tolerance"])
    assert [row["draws"] for row in found["checks"]] == [10_000, None, None]


@pytest.mark.usefixtures("few")
def test_threads_and_the_device_are_those_that_are_asked_for(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    seen: list[tuple[torch.device, int]] = []

    def compare(device: torch.device) -> list[Agreement]:
        seen.append((device, torch.get_num_threads()))
        return [Agreement(0.0)]

    monkeypatch.setattr(running, "CHECKS", (Check("name", "ours", "theirs", "source", compare),))
    before = torch.get_num_threads()
    answer(capsys, "--threads", "3", "--device", "cpu")
    assert seen == [(torch.device("cpu"), 3)]
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--device", "abacus"), "device 'abacus' is not known"),
        (("--threads", "0"), "selftest: threads = 0; expected"),
        (("--devise", "cpu"), "option --devise is not known"),
        (("extra",), "unexpected extra argument"),
    ],
)
def test_what_cannot_be_is_refused(words: tuple[str, ...], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["selftest", *words]) == 2
    assert message in capsys.readouterr().err


def test_a_device_without_float64_is_refused(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(selftest_command, "checked_device", torch.device)
    assert cli.main(["selftest", "--device", "mps"]) == 2
    assert "selftest: device 'mps' has no float64" in capsys.readouterr().err


def test_it_needs_nothing_but_what_is_installed(tmp_path: Path) -> None:
    """All checks, in a fresh interpreter that sees neither this folder nor the tests."""
    tests = Path(__file__).parents[2]
    code = f"""
import sys
from mesascope.analyses.commands.cli import main
code = main(["selftest", "-q", "--threads", "1"])
files = [str(getattr(module, "__file__", "")) for module in sys.modules.values()]
tests = [file for file in files if file.startswith({str(tests)!r})]
sys.exit(f"imported from the tests: {{tests}}" if tests or "pytest" in sys.modules else code)
"""
    done = subprocess.run([sys.executable, "-I", "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert f"All {len(CHECKS)} checks passed." in done.stdout
    assert list(tmp_path.iterdir()) == []
