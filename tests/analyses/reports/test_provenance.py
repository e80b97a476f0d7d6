"""Where a result came from: keys, the state of the sources, commands that make it again."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import pytest
import torch
from mesascope import models, probes
from mesascope.analyses.commands.arguments import parse
from mesascope.analyses.commands.planning import chosen_probes
from mesascope.analyses.commands.run_options import RunOptions, run_options
from mesascope.analyses.reports import code
from mesascope.analyses.reports.code import code_sha256, source_state
from mesascope.analyses.reports.command import command
from mesascope.analyses.reports.provenance import NOT_ALONE, key
from mesascope.analyses.runs.running import probe_named, run
from mesascope.probes.probe import Probe


def test_the_key_depends_on_all_that_can_change_a_number(mean_answer: Any, make_subject: Any) -> None:
    @dataclass(frozen=True)
    class Newer(mean_answer):  # the same file, another version
        version = "2"

    double = make_subject()
    double.module.to(torch.float32)
    keys = [
        key(make_subject(), mean_answer(), 0, 64),
        key(make_subject(rate=2.0), mean_answer(), 0, 64),
        key(make_subject(), mean_answer(n_tasks=65), 0, 64),
        key(make_subject(), mean_answer(), 1, 64),
        key(make_subject(), mean_answer(), 0, 65),
        key(make_subject(facts={"activation_clip": 2.0}), mean_answer(), 0, 64),
        key(make_subject(record={"tasks": {"noise": 1.0}}), mean_answer(), 0, 64),
        key(make_subject(layout="other"), mean_answer(), 0, 64),
        key(make_subject(), Newer(), 0, 64),
        key(double, mean_answer(), 0, 64),
    ]
    assert len(set(keys)) == len(keys)
    assert all(len(k) == 16 and int(k, 16) >= 0 for k in keys)


def test_the_key_depends_on_nothing_else(mean_answer: Any, make_subject: Any) -> None:
    one = key(make_subject(), mean_answer(), 0, 64)
    assert one == key(make_subject(name="elsewhere", path="/tmp/x", notes=("n",)), mean_answer(), 0, 64)


def test_hidden_weights_are_told_apart_by_what_was_found(mean_answer: Any, make_subject: Any) -> None:
    reports = [run(make_subject(rate=rate, weights_sha256=None), mean_answer()) for rate in (1.0, 1.0, 2.0)]
    assert reports[0].key == reports[1].key != reports[2].key


def test_files_count_by_their_content(mean_answer: Any, make_subject: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mean_answer, "fingerprint", lambda self: {"refuse_sha256": "aa"})
    one = key(make_subject(), mean_answer(refuse="here/tasks.npz"), 0, 64)
    assert one == key(make_subject(), mean_answer(refuse="there/tasks.npz"), 0, 64)
    monkeypatch.setattr(mean_answer, "fingerprint", lambda self: {"refuse_sha256": "bb"})
    assert one != key(make_subject(), mean_answer(refuse="here/tasks.npz"), 0, 64)


def test_the_code_digest_holds_the_sources_and_the_probe_of_others(mean_answer: Any) -> None:
    class Elsewhere(Probe): ...

    ours = probe_named("gd-alignment")
    assert code_sha256(type(ours)) != code_sha256(mean_answer)  # this one's file is in the tests
    assert code_sha256(mean_answer) == code_sha256.__wrapped__(mean_answer)
    assert code_sha256(Elsewhere) != code_sha256(mean_answer)


def git(folder: Path, *words: str) -> str:
    identity = ["-c", "user.name=x", "-c", "user.email=x"]
    line = ["git", *identity, "-C", str(folder), *words]
    return subprocess.run(line, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "checkout"
    (folder / "models").mkdir(parents=True)
    (folder / "models" / "a.py").write_text("a = 1\n")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    monkeypatch.setattr(code, "PACKAGE", folder.resolve())
    return folder


def test_a_checkout_knows_its_commit_and_its_changes(checkout: Path) -> None:
    commit = git(checkout, "rev-parse", "HEAD")
    (checkout / "notes.txt").write_text("not a source")
    assert source_state() == {"commit": commit, "dirty": False}
    (checkout / "models" / "new.py").write_text("b = 1\n")
    assert source_state() == {"commit": commit, "dirty": True}


def test_an_installed_package_knows_what_was_baked_in(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Installed inside somebody's checkout, it must not take that checkout's commit."""
    package = checkout / "site-packages" / "mesascope"
    (package / "analyses").mkdir(parents=True)
    monkeypatch.setattr(code, "PACKAGE", package.resolve())
    assert source_state() == {"commit": None, "dirty": None}
    baked = {"commit": "b" * 40, "dirty": True}
    (package / "analyses" / "_build.json").write_text(json.dumps(baked))
    assert source_state() == baked


def test_the_environment_is_recorded(mean_answer: Any, make_subject: Any) -> None:
    found = run(make_subject(), mean_answer()).provenance
    assert found["environment"]["packages"]["torch"] == torch.__version__
    assert found["environment"]["threads"] == torch.get_num_threads()
    assert (found["device"], found["dtype"]) == ("cpu", "float64")


def test_in_memory_subjects_have_no_command(mean_answer: Any, make_subject: Any) -> None:
    found = run(make_subject(), mean_answer()).provenance
    assert found["command"] is None
    assert found["verification"] == NOT_ALONE
    assert "to be opened as it was" in found["python"]


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    module = models.gd_transformer(4, 1.0, 3)
    path = tmp_path / "we ights.safetensors"
    models.save_checkpoint(path, module.config, module.state_dict())
    return path


def test_the_command_makes_the_same_run(mean_answer: Any, checkpoint: Path) -> None:
    """What it says is what the command line reads back, and no more."""
    subject, probe = models.load(checkpoint), mean_answer(n_tasks=5, offset=0.25, scales=(0.5, 2.0, 3.0))
    report = run(subject, probe, seed=3, batch_size=9)
    options, given = read_back(report.provenance["command"])
    assert options.models == (str(checkpoint),)
    assert chosen_probes(options) == [probe]
    assert (options.seed, options.batch_size, options.dtype) == (3, 9, "float64")
    assert not {"force", "quiet", "json", "output_dir"} & given


@dataclass(frozen=True)
class Various(Probe):
    """Settings of every kind."""

    name: ClassVar[str] = "various"
    version: ClassVar[str] = "1"

    path: str | None = None
    mode: Literal["all", "none"] = "all"
    count: int | None = 3
    shift: float = 0.0
    scales: tuple[float, ...] = (1.0,)
    names: tuple[str, ...] = ()
    gentle: bool = True
    careful: bool = False

    def applies(self, subject: Any) -> None:
        return None

    def measure(self, *arguments: Any) -> Any:
        raise AssertionError("nobody measures here")

    claim = measure


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({}, []),
        ({"path": "my text, part 1.txt"}, ["--path", "my text, part 1.txt"]),
        ({"path": "none"}, ["--path", '"none"']),
        ({"path": "--force"}, ["--path", "--force"]),
        ({"path": '[a] "b"=c'}, ["--path", '[a] "b"=c']),
        ({"path": "7"}, ["--path", "7"]),
        ({"mode": "none"}, ["--mode", "none"]),
        ({"count": None, "shift": -0.5}, ["--count", "none", "--shift", "-0.5"]),
        ({"count": -2, "shift": 1e-30}, ["--count", "-2", "--shift", "1e-30"]),
        ({"scales": (20.0, -30.5)}, ["--scales", "[20.0,-30.5]"]),
        ({"scales": (), "names": ("one",)}, ["--scales", "[]", "--names", "[one]"]),
        ({"names": ("a, b", "none", "3", "")}, ["--names", '["a, b","none","3",""]']),
        ({"gentle": False, "careful": True}, ["--no-gentle", "--careful"]),
    ],
)
def test_settings_of_every_kind_are_read_back(
    settings: dict[str, Any], words: list[str], checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "various_probe", sys.modules[__name__])
    monkeypatch.setitem(probes.PROBES, "various", "various_probe:Various")
    probe = Various(**settings)
    line = command([models.load(checkpoint)], probe, 0, 1)
    assert [word for word in shlex.split(line) if word in words] == words
    assert chosen_probes(read_back(line)[0]) == [probe]


def read_back(line: str) -> tuple[RunOptions, set[str]]:
    """The options that a command gives, and their names."""
    name, values = parse(shlex.split(line)[1:])
    assert name == "run"
    return run_options(values), set(values)


def test_the_python_makes_the_same_run(mean_answer: Any, checkpoint: Path) -> None:
    report = run(models.load(checkpoint), mean_answer(n_tasks=5), seed=3, batch_size=9)
    code = report.provenance["python"].replace(mean_answer.__module__, "mean_answer_probe")
    names: dict[str, Any] = {}
    exec(code, names)
    assert names["report"].record()["measures"] == report.record()["measures"]
    assert names["report"].key == report.key
