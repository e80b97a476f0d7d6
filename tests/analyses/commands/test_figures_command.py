"""`mesascope figures` draws what was asked for, and answers what it cannot draw with one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from mesascope.analyses.commands import cli
from PIL import Image

pytestmark = pytest.mark.usefixtures("toy")


@pytest.fixture
def report(checkpoint: Callable[..., str], capsys: pytest.CaptureFixture[str]) -> str:
    assert cli.main(["run", checkpoint(), "--figures", "none"]) == 0
    capsys.readouterr()
    return "reports/model"


def test_one_panel_as_wide_as_a_column(report: str, capsys: pytest.CaptureFixture[str]) -> None:
    options = ["--only", "measures", "--panel", "unit", "--width", "3.25", "--formats", "png", "-o", "out"]
    assert cli.main(["figures", report, *options]) == 0
    lines = capsys.readouterr().out.split()
    assert [Path(line).suffix for line in lines] == [".png", ".csv", ".txt", ".tex"]
    with Image.open(lines[0]) as picture:
        assert picture.width / picture.info["dpi"][0] == pytest.approx(3.25, abs=0.01)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--only", "evidenc"], "figure 'evidenc' is not known; expected one of measures"),
        (["--only", "measures", "--panel", "7"], "panel '7' is not there"),
        (["--panel", "1"], "expected one, by its name (--only)"),
        (["--width", "0"], "expected 3 to 30 inches"),
        (["--width", "-2"], "expected 3 to 30 inches"),
        (["--width", "nan"], "width"),
        (["--width", "wide"], "width"),
        (["--style", "icmll"], "did you mean icml"),
    ],
)
def test_what_cannot_be_drawn_is_answered_with_what_can(
    report: str, options: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert cli.main(["figures", report, *options, "-o", "out"]) == 2
    said = capsys.readouterr()
    assert words in said.err
    assert "Traceback" not in said.err
    assert not [path for path in Path("out").rglob("*") if path.is_file()]
