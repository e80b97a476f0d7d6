"""`mesascope export`, from end to end."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from mesascope.analyses import export
from mesascope.analyses.commands import cli

pytestmark = pytest.mark.usefixtures("toy")


@pytest.fixture
def reports(checkpoint: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> list[Path]:
    """Of checkpoints a and b, and of both."""
    for words in ([checkpoint("a")], [checkpoint("b", rate=2.0)], ["a.safetensors", "b.safetensors"]):
        assert cli.main(["run", *words, "--figures", "none", "-q"]) == 0
    capsys.readouterr()
    return sorted(path.parent for path in Path("reports").rglob("report.json"))


def test_tables_are_printed(reports: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    for to in ("markdown", "latex"):
        assert cli.main(["export", "reports/a", "reports/b", "--to", to]) == 0
        out, err = capsys.readouterr()
        folders = [folder for folder in reports if folder.parts[1] in "ab"]
        assert (out, err) == (export(folders, to), "")
    assert cli.main(["export", "reports/a", "--to", "markdown", "--measures", "toy_measure"]) == 0
    assert "| toy\\_measure" in capsys.readouterr().out


def test_of_a_folder_with_a_family_the_family_alone_counts(
    reports: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    (family,) = [folder for folder in reports if folder.parts[1] not in "ab"]
    assert cli.main(["export", "reports", "--to", "markdown"]) == 0
    out, err = capsys.readouterr()
    assert out == export(family, "markdown")
    assert err == (
        "reports: 2 of 3 reports belong to one over several checkpoints, and are left out;"
        " to have one of them, name its folder\n"
    )
    assert cli.main(["export", str(family), "reports/a", "--to", "markdown"]) == 0
    assert capsys.readouterr() == (export([family, reports[0]], "markdown"), "")


def test_a_file_is_written_whole_and_never_over_another(
    reports: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["export", "reports/a", "--to", "latex", "-o", "table.tex"]
    assert cli.main(words) == 0
    assert capsys.readouterr() == ("table.tex\n", "")
    written = Path("table.tex").read_text()
    assert written == export(reports[0], "latex")
    Path("table.tex").write_text("mine")
    assert cli.main(words) == 2
    assert "--output table.tex: it is there, and stays as it is" in capsys.readouterr().err
    assert Path("table.tex").read_text() == "mine"
    assert cli.main([*words, "--force"]) == 0
    assert Path("table.tex").read_text() == written
    for place, said in {"reports": "a folder", "nowhere/t.tex": "cannot be written (No such file"}.items():
        assert cli.main([*words[:-1], place]) == 2
        assert f"--output {place}: {said}" in capsys.readouterr().err
    assert not [path for path in Path().iterdir() if path.name.startswith(".mesascope")]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["reports/a", "--to", "tensorboard"], "cannot export to 'tensorboard'; expected wandb, markdown or latex"),
        (["reports/a"], "export: no --to; expected wandb, markdown or latex"),
        (["--to", "latex"], "export: no report"),
        (["nowhere", "--to", "latex"], "nowhere: no such report"),
        (["a.safetensors", "--to", "latex"], "a.safetensors: no such report"),
        (["reports/a", "--to", "wandb", "-o", "x"], "output belongs to markdown and latex"),
        (["reports/a", "--to", "wandb", "--force"], "force belongs to markdown and latex"),
        (["reports/a", "--to", "latex", "--project", "x"], "project belongs to wandb"),
        (["reports/a", "--to", "latex", "--measures", "toy_mesure"], "did you mean toy_measure?"),
    ],
)
def test_what_cannot_be_is_one_line(
    words: list[str], said: str, reports: list[Path], capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["export", *words]) == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("mesascope: error: ")
    assert said in err


def test_damaged_and_edited_reports_are_told(reports: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    a, b = (folder / "report.json" for folder in reports if folder.parts[1] in "ab")
    a.write_text(a.read_text().replace('"values": 1.0', '"values": 1.25'))
    assert cli.main(["export", "reports/a", "--to", "markdown"]) == 0
    out, err = capsys.readouterr()
    assert "1.25" in out
    assert "changed after mesascope wrote it): " in out
    assert (err.count("\n"), "report.json was changed after mesascope wrote it" in err) == (1, True)
    b.write_text("{")
    assert cli.main(["export", "reports", "--to", "markdown"]) == 2
    assert f"{b}: damaged" in capsys.readouterr().err


@pytest.mark.parametrize("to", ["markdown", "latex"])
def test_tables_need_no_torch(to: str, reports: list[Path]) -> None:
    code = (
        "import sys; from mesascope.analyses.commands.cli import main; code = main(sys.argv[1:]);"
        "assert not {'torch', 'wandb', 'matplotlib'} & set(sys.modules); sys.exit(code)"
    )
    line = [sys.executable, "-P", "-c", code, "export", "reports/a", "reports/b", "--to", to]
    done = subprocess.run(line, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
