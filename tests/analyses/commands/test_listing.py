"""`mesascope list`: what there is, said without importing any of it."""

from __future__ import annotations

import dataclasses
import inspect
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest
from mesascope import probes
from mesascope.analyses.commands.listing import TASKS, rows
from mesascope.analyses.commands.source_reading import class_settings, describe, read_meanings
from mesascope.analyses.training.recipe_kinds import LANGUAGES
from mesascope.analyses.training.recipes import RECIPES
from mesascope.data.copying import CopyTask
from mesascope.data.errors import CheckpointRefused, UsageError
from mesascope.data.regression import GaussianRegression, RegressionTasks
from mesascope.data.softmax_regression import SoftmaxRegression
from mesascope.models.opening.catalogue import LAYOUTS, shipped
from mesascope.probes import registered


def test_every_family_of_tasks_is_listed() -> None:
    families = {kind.family for kind in RegressionTasks.__subclasses__()}
    families |= {GaussianRegression.family, SoftmaxRegression.family, CopyTask.family}
    assert families == set(TASKS) - {"file", "softmax-regression-file"}


@pytest.mark.parametrize("target", [*registered().values(), *TASKS.values(), *LANGUAGES.values()])
def test_a_description_read_from_the_source_is_that_of_the_object(target: str) -> None:
    module, _, name = target.partition(":")
    thing = getattr(import_module(module), name)
    found = describe(target)
    about = import_module(module).__doc__ if target in registered().values() else thing.__doc__
    assert found.what
    assert found.what == (about or "").partition("\n")[0]
    assert found.details == inspect.getdoc(thing)
    assert found.by_default is getattr(thing, "by_default", True)
    assert found.settings == (class_settings(thing) if dataclasses.is_dataclass(thing) else ())


def test_what_cannot_be_found_is_said_and_does_not_stop_the_list() -> None:
    assert describe("no_such_package.module:Class").what.startswith("cannot be found")
    assert describe("mesascope.probes.probe:NoSuchClass").what.startswith("cannot be found")


def test_probes_say_when_they_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "slow_probe_module.py"
    path.write_text("class Slow(Probe):\n    by_default: ClassVar[bool] = False\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setitem(probes.PROBES, "slow", "slow_probe_module:Slow")
    found = {row["name"]: row["by_default"] for row in rows("probes")}
    named = {
        "slow": False,
        "softmax-regression": False,
        "icl-algorithm": False,
        "gd-certificate": False,
        "implicit-weights": False,
        "spectral-filter": False,
        "shift-battery": False,
        "label-copying": False,
        "deep-features": False,
        "attention-learning": False,
        "icl-vs-gd": False,
        "few-shot-heads": False,
    }
    assert found == {**dict.fromkeys(probes.PROBES, True), **named}
    assert "slow_probe_module" not in sys.modules


def test_meanings_are_read_from_lines_of_a_docstring() -> None:
    text = "Title.\n\none:   first\n       and on\ntwo, three:  both\n\nfour: after a blank\nNo: name"
    expected = {"one": "first and on", "two": "both", "three": "both", "four": "after a blank"}
    assert read_meanings(text) == expected


def test_lists_name_what_there_is() -> None:
    assert {row["name"] for row in rows("probes")} == set(registered())
    assert {row["name"] for row in rows("layouts")} == set(LAYOUTS)
    assert {row["name"] for row in rows("checkpoints")} == set(shipped())
    assert {row["name"] for row in rows("recipes")} == set(RECIPES)
    assert {row["name"] for row in rows("tasks")} == {*TASKS, *LANGUAGES}


def test_checkpoints_say_what_they_read() -> None:
    found = {row["name"]: row for row in rows("checkpoints")}
    assert found["lsa-1layer"]["reads"] == "x of width 10"
    assert (found["lsa-1layer"]["attention"], found["lsa-1layer"]["tied"]) == ("linear", True)
    assert found["lsa-causal-layernorm"]["attention"] == "linear, causal"
    layer = found["softmax-attention-1layer"]
    assert (layer["reads"], layer["attention"], layer["layers"]) == ("rows of A of width 20", "softmax", 1)
    assert found["induction-2layer"]["reads"] == "129 tokens"
    assert (found["induction-2layer"]["attention"], found["induction-2layer"]["tied"]) == ("softmax", False)
    assert (found["induction-2layer"]["layers"], found["induction-2layer"]["heads"]) == (2, 4)
    copies, twin = found["copy-40of60-8heads"], found["copy-40of60-1head-uniform"]
    assert (copies["reads"], copies["attention"], copies["heads"]) == ("40 words, of 60", "softmax", 8)
    assert (twin["attention"], twin["tied"], twin["layers"]) == ("uniform", False, 1)


def test_defaults_have_types() -> None:
    """null is null, and a number a number; a word stays a word."""
    settings = {row["name"]: row["settings"] for row in rows("probes")}
    assert settings["token-norms"]["text"] is None
    assert settings["token-norms"]["untrained"] == 19
    assert settings["induction-heads"]["ablate"] == "auto"
    assert settings["induction-heads"]["compatibility_scores"] is False
    assert {row["name"]: row["settings"] for row in rows("tasks")}["linear-regression"]["noise"] == 0.0


def test_revisions_are_of_a_model() -> None:
    found = rows("revisions", "lsa-1layer")
    assert {row["seed"] for row in found} == {0, 1, 2, 3, 4}
    assert all(row["revision"] == f"seed{row['seed']}-step{row['step']}" for row in found)
    with pytest.raises(UsageError, match="expected `list revisions MODEL`"):
        rows("revisions")
    with pytest.raises(UsageError, match="revisions MODEL"):
        rows("probes", "lsa-1layer")
    with pytest.raises(CheckpointRefused, match="did you mean lsa-1layer"):
        rows("revisions", "lsa-1layr")


def answered(command: list[str], folder: Path) -> subprocess.CompletedProcess[str]:
    """What a command of a fresh process prints; the last line of its errors names the heavy packages it imported."""
    code = (
        "import sys; from mesascope.analyses.commands.cli import main; code = main(sys.argv[1:]);"
        "heavy = {'torch', 'pandas', 'matplotlib', 'scipy', 'numpy', 'pydantic'} & set(sys.modules);"
        "print(sorted(heavy), file=sys.stderr); sys.exit(code)"
    )
    return subprocess.run([sys.executable, "-P", "-c", code, *command], cwd=folder, capture_output=True, text=True)


@pytest.mark.parametrize("command", [["--help"], ["run", "--help"], ["list"], ["list", "checkpoints", "--json"]])
def test_answering_quickly_means_importing_nothing_heavy(command: list[str], tmp_path: Path) -> None:
    done = answered(command, tmp_path)
    assert (done.returncode, done.stderr.strip()) == (0, "[]")
    assert done.stdout


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        (["lsa-1layer", "--revision", "seed9"], 2, "revision 'seed9' is not in lsa-1layer.safetensors"),
        (["lsa-1layr"], 3, "did you mean lsa-1layer"),
        (["some/hub-id"], 3, "nor in the local hub cache"),
        (["weights.safetensors"], 3, "weights.safetensors: no such file"),
        (["lsa-1layer", "-p", "nope"], 2, "probe 'nope' is not known"),
        (["lsa-1layer", "--layout", "nope"], 2, "layout 'nope' is neither known nor a file"),
    ],
)
def test_refusals_that_need_no_weights_come_without_torch(
    command: list[str], code: int, words: str, tmp_path: Path
) -> None:
    done = answered(["run", *command], tmp_path)
    *errors, heavy = done.stderr.strip().splitlines()
    assert (done.returncode, heavy) == (code, "['pydantic']")  # which reads the options
    assert words in " ".join(errors)
