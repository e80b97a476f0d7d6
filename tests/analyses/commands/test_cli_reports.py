"""Commands that read reports: show, verify, compare and figures, from end to end."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mesascope.analyses.commands import cli

pytestmark = pytest.mark.usefixtures("toy")
RUN = ["--figures", "none"]


def reports(folder: str = "reports") -> list[Path]:
    return sorted(path.parent for path in Path(folder).rglob("report.json"))


def test_a_report_can_be_shown_verified_and_compared(
    checkpoint: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    a, b = checkpoint("a"), checkpoint("b", rate=2.0)
    assert cli.main(["run", a, *RUN]) == 0
    assert cli.main(["run", b, *RUN, "--probe-args", "scale=3"]) == 0
    capsys.readouterr()
    assert cli.main(["show", "reports/a"]) == 0
    assert "toy_measure" in capsys.readouterr().out
    assert cli.main(["show", "reports/a", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["measures"]["toy_measure"]["ci_low"] == 0.0
    assert cli.main(["show", "reports"]) == 2
    assert "holds 2 reports; name one" in capsys.readouterr().err
    assert cli.main(["compare", "reports/a", "reports/b"]) == 0
    assert "toy_measure" in capsys.readouterr().out
    assert cli.main(["compare", "reports/a", "reports/b", "--json"]) == 0
    (row,) = json.loads(capsys.readouterr().out)
    assert (row["report_a"], row["report_b"], row["difference"]) == ("a", "b", 2.0)
    assert cli.main(["verify", "reports/a"]) == 0
    assert "bit-identical" in capsys.readouterr().out
    assert cli.main(["verify", "reports/a", "--weights", "b.safetensors"]) == 1
    assert "weights differ" in capsys.readouterr().out


def test_a_number_that_was_edited_is_found_and_named(
    checkpoint: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", checkpoint(), *RUN]) == 0
    path = reports()[0] / "report.json"
    text = path.read_text()
    assert text.count('"values": 1.0') == 1
    path.write_text(text.replace('"values": 1.0', '"values": 1.25'))
    capsys.readouterr()
    assert cli.main(["verify", "reports", "--json"]) == 1
    found = json.loads(capsys.readouterr().out)
    assert found["verdict"] == "differs"
    assert any("toy_measure" in difference for difference in found["differences"])


def test_figures_are_drawn_from_a_saved_report(
    checkpoint: Callable[..., str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["run", checkpoint(), *RUN]) == 0
    capsys.readouterr()
    assert cli.main(["figures", "reports", "--formats", "png", "--style", "icml"]) == 0
    drawn = [Path(line) for line in capsys.readouterr().out.split()]
    assert {path.suffix for path in drawn} == {".png", ".csv"}
    assert all(path.is_file() and path.parts[0] == "model-icml" for path in drawn)  # the report stays as it is
    assert cli.main(["figures", "reports", "--style", "icmll", "-o", "elsewhere"]) == 2
    assert "did you mean icml" in capsys.readouterr().err
    assert not Path("elsewhere").exists()


@pytest.mark.parametrize("command", ["show", "compare"])
def test_reading_reports_needs_no_torch(checkpoint: Callable[..., str], command: str) -> None:
    for name in ("a", "b"):
        assert cli.main(["run", checkpoint(name, rate=ord(name)), *RUN]) == 0
    code = (
        "import sys; from mesascope.analyses.commands.cli import main; code = main(sys.argv[1:]);"
        "assert not {'torch', 'pydantic'} & set(sys.modules); sys.exit(code)"
    )
    given = ["reports/a", "reports/b"] if command == "compare" else ["reports/a"]
    done = subprocess.run([sys.executable, "-P", "-c", code, command, *given], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def drawn(label: str) -> set[str]:
    (folder,) = Path("reports").glob(f"{label}/toy/*")
    return {path.suffix for path in (folder / "figures").glob("*")}


PICTURE, ALL = {".png", ".csv"}, {".pdf", ".svg", ".png", ".csv"}


def test_members_of_a_family_get_pictures_until_more_is_asked_for(checkpoint: Callable[..., str]) -> None:
    a, b = checkpoint("a"), checkpoint("b", rate=2.0)
    assert cli.main(["run", a, b, "-q"]) == 0
    assert (drawn("a"), drawn("b"), drawn("a-b-*")) == (PICTURE, PICTURE, ALL)
    assert cli.main(["verify", "reports/a", "-q"]) == 0
    assert cli.main(["run", b, "-q"]) == 0
    assert (drawn("a"), drawn("b")) == (PICTURE, ALL)
    assert cli.main(["run", a, b, "-q"]) == 0
    assert drawn("b") == ALL
    assert cli.main(["figures", "reports/a", "-o", "rest"]) == 0
    assert {path.suffix for path in Path("rest/figures").glob("*")} == ALL


@pytest.mark.parametrize(("kind", "expected"), [("none", set()), ("png", PICTURE)])
def test_other_kinds_of_figures_are_the_same_for_a_family_and_its_members(
    checkpoint: Callable[..., str], kind: str, expected: set[str]
) -> None:
    assert cli.main(["run", checkpoint("a"), checkpoint("b", rate=2.0), "-q", "--figures", kind]) == 0
    assert (drawn("a"), drawn("b"), drawn("a-b-*")) == (expected, expected, expected)
