"""The command at its edges: a training that is interrupted, a reader that goes away."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from mesascope.analyses.commands import cli

ENTRY = "import sys; from mesascope.analyses.commands.cli import main; sys.exit(main())"


def test_train_writes_where_it_is_told_and_says_how_to_go_on(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(recipe: Any, path: Path, seeds: list[int] | None, device: str, progress: Any, force: bool) -> Path:
        assert (recipe.name, path, seeds, device) == ("lsa-1layer", Path("mine.safetensors"), [0, 3], "cpu")
        assert force
        raise KeyboardInterrupt

    monkeypatch.setattr("mesascope.analyses.training.training.train", interrupted)
    assert cli.main(["train", "lsa-1layer", "-o", "mine.safetensors", "--seeds", "0,3", "--force"]) == 130
    said = capsys.readouterr().err
    assert said == (
        "mesascope: interrupted (Ctrl-C); mine.safetensors.partial holds the training so far; the same command goes on"
        " from there\n"
    )


def test_a_reader_that_went_away_is_no_traceback() -> None:
    process = subprocess.Popen(
        [sys.executable, "-P", "-c", ENTRY, "list"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.wait(timeout=30) == 141
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
