"""`mesascope reproduce` as a user meets it."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from mesascope.analyses.commands.cli import main


def test_the_estimate_says_what_is_found_and_what_is_trained(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["reproduce", "von-oswald-2023", "--figure", "1,16", "--dry-run", "-o", str(tmp_path / "out")]) == 0
    text = capsys.readouterr().out
    assert "lsa-1layer " in text
    assert "to be trained" in text
    assert "In all about" in text
    assert not (tmp_path / "out").exists()


def test_the_estimate_of_the_reduced_size_is_shorter(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", "von-oswald-2023", "--quick", "--dry-run", "--json"]) == 0
    rows = json.loads(capsys.readouterr().out)
    assert all(row["size"].startswith("reduced") for row in rows)
    assert {row["need"] for row in rows} >= {"lsa-1layer", "sine-mlp-gd", "lsa-2layer-recurrent N=100"}


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["von-oswald-2023", "--figure", "17"], "figure 17: von-oswald-2023 has figures 1 to 16"),
        (["von-oswald-2023", "--figure", "two"], "figure"),
        (["von-oswald-2023", "--checkpoints", "no/such"], "checkpoints: no folder no/such"),
        (["akyurek-2022"], "paper 'akyurek-2022' cannot be reproduced; known: von-oswald-2023"),
        ([], "missing argument"),
    ],
)
def test_bad_words_get_one_line_and_code_2(words: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reproduce", *words, "--dry-run"]) == 2
    captured = capsys.readouterr()
    assert says in captured.err
    assert len(captured.err.strip().splitlines()) == 1


def test_ctrl_c_in_a_training_keeps_it_and_the_same_command_goes_on(tmp_path: Path) -> None:
    words = ["reproduce", "von-oswald-2023", "--figure", "15", "-o", str(tmp_path / "out"), "-q"]
    code = f"import sys; from mesascope.analyses.commands.cli import main; sys.exit(main({words!r}))"
    partial = tmp_path / "out" / "checkpoints" / "lsa-1layer-1head-10seeds.safetensors.partial"
    for _ in range(2):  # the second one goes on, and is stopped, too
        process = subprocess.Popen(
            [sys.executable, "-P", "-c", code],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ,
            start_new_session=True,
        )
        try:
            begun, held = time.monotonic(), partial.stat().st_mtime_ns if partial.exists() else 0
            while not partial.exists() or (held and process.poll() is None and time.monotonic() - begun < 6):
                assert process.poll() is None, process.stderr.read() if process.stderr else ""
                assert time.monotonic() - begun < 120
                time.sleep(0.1)
            os.killpg(process.pid, signal.SIGINT)
            _, said = process.communicate(timeout=120)
        finally:
            if process.poll() is None:
                process.kill()
        assert process.returncode == 130
        assert "interrupted (Ctrl-C); what was trained and measured stays, and the same command goes on" in said
        assert [path.name for path in (tmp_path / "out").rglob("*") if path.is_file()] == [partial.name]
