"""`mesascope convert` from end to end."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mesascope.analyses.commands import cli
from safetensors.numpy import load_file


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    tree = {"a": {"w": np.arange(3.0)}, "note": "x", **{f"n{n}": n for n in range(12)}}
    Path("p.pkl").write_bytes(pickle.dumps(tree))
    return tmp_path


def test_it_prints_where_and_what_it_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["convert", "p.pkl", "p.safetensors"]) == 0
    out, err = capsys.readouterr()
    assert out == "p.safetensors\n"
    assert err.startswith("no arrays, so left out: note (str), n0 = 0, ")
    assert err.endswith("n8 = 8, and 3 more\n")
    assert load_file("p.safetensors")["a/w"].tolist() == [0.0, 1.0, 2.0]


def test_its_options(capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["convert", "p.pkl", "p.safetensors", "--separator", ".", "-q"]) == 0
    assert capsys.readouterr().err == ""
    assert list(load_file("p.safetensors")) == ["a.w"]
    assert cli.main(["convert", "p.pkl", "p.safetensors"]) == 2
    assert "exists already; give another name, or --force" in capsys.readouterr().err
    assert cli.main(["convert", "p.pkl", "p.safetensors", "--force", "-q"]) == 0
    assert list(load_file("p.safetensors")) == ["a/w"]


def test_a_pickle_that_would_run_is_refused_with_code_3(capsys: pytest.CaptureFixture[str]) -> None:
    class Runs:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.mkdir, ("made",)

    Path("bad.pkl").write_bytes(pickle.dumps({"w": np.ones(1), "x": Runs()}))
    assert cli.main(["convert", "bad.pkl", "b.safetensors"]) == 3
    err = capsys.readouterr().err
    assert err.startswith(f"mesascope: error: bad.pkl: names '{os.name}.mkdir', which would run code")
    assert err.count("\n") == 1
    assert not Path("made").exists()
    assert not Path("b.safetensors").exists()
    pickle.loads(Path("bad.pkl").read_bytes())
    assert Path("made").exists(), "the premise: opened without care, it runs"


HOOK = """
import sys
from mesascope.models.opening.converting import convert
import codecs
events, listening = [], False
watched = {"os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "exec", "compile", "import",
           "pickle.find_class", "os.remove"}
sys.addaudithook(lambda event, arguments: listening and event in watched and events.append(event))
convert("p.pkl", "first.safetensors")
try:
    convert("absent.pkl", "second.safetensors")
except Exception:
    pass
listening = True
for name in sys.argv[1:]:
    try:
        convert(name, "out.safetensors", force=True)
    except Exception as error:
        print(type(error).__name__)
listening = False
print(events)
"""


def test_nothing_is_looked_up_imported_or_run() -> None:
    class Runs:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return os.system, ("touch made",)

    Path("bad.pkl").write_bytes(pickle.dumps(Runs()))
    Path("old.pkl").write_bytes(b"cantigravity\nfly_geohash\n(S'x'\ntR.")
    command = [sys.executable, "-c", HOOK, "p.pkl", "bad.pkl", "old.pkl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout.split("\n") == ["CheckpointRefused", "CheckpointRefused", "[]", ""], done.stderr[-1000:]
