"""The grammar of the command line: spellings, values, the configuration file, and what is said about mistakes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from mesascope.analyses.commands.arguments import RunOptions, pairs, parse, run_options
from mesascope.data.errors import UsageError
from mesascope.models.opening.catalogue import MODEL_ARGS


def options(*words: str) -> RunOptions:
    return run_options(parse(["run", *words])[1])


def read(words: list[str]) -> None:
    command, values = parse(words)
    if command == "run":
        run_options(values)


def test_what_is_not_given_has_the_default() -> None:
    assert options("m") == RunOptions(models=("m",))


def test_both_spellings_of_a_flag_mean_the_same() -> None:
    hyphens = options("m", "--batch-size", "7", "--output-dir=a_b", "--model-args", "n_heads=2", "--dry-run")
    underscores = options("m", "--batch_size", "7", "--output_dir=a_b", "--model_args", "n-heads=2", "--dry_run")
    assert hyphens == underscores
    assert hyphens.output_dir == "a_b", "only the flag's name is respelled, never its value"


def test_revisions_and_probes_add_up_and_models_may_stand_anywhere() -> None:
    found = options("a", "--revisions", "seed1,seed2", "b", "--revision", "step500", "-p", "x,y", "--probe", "z")
    assert found.models == ("a", "b")
    assert found.revisions == ("seed1", "seed2", "step500")
    assert found.probe == ("x", "y", "z")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a=1,b=0.5,c=1e-3", {"a": 1, "b": 0.5, "c": 1e-3}),
        ("tied=true, clip=none,soft=False", {"tied": True, "clip": None, "soft": False}),
        ("twins=gd+gdpp", {"twins": "gd+gdpp"}),
        ("a=b=c", {"a": "b=c"}),
        ("a=[20,30],b=2", {"a": [20, 30], "b": 2}),
        ("a=[],b=[0.5, x]", {"a": [], "b": [0.5, "x"]}),
        ("", {}),
    ],
)
def test_pairs_are_read_as_values(text: str, expected: dict[str, object]) -> None:
    found = pairs(text)
    assert found == expected
    assert [type(value) for value in found.values()] == [type(value) for value in expected.values()]


def test_whole_numbers_and_fractions_are_kept_apart() -> None:
    assert type(pairs("a=2")["a"]) is int
    assert type(pairs("a=2.0")["a"]) is float


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["rnu", "m"], "command 'rnu' is not known; did you mean run"),
        ([], "no command"),
        (["run"], "no MODEL"),
        (["run", "m", "--batchsize", "3"], "option --batchsize is not known; did you mean --batch-size"),
        (["run", "m", "--limit", "0"], "--limit 0: expected a whole number, at least 1"),
        (["run", "m", "--limit", "ten"], "--limit ten: expected a whole number"),
        (["run", "m", "--seed", "-1"], "--seed -1: expected a whole number, at least 0"),
        (["run", "m", "--dtype", "float3"], "--dtype 'float3' is not known; did you mean float32"),
        (["run", "m", "--figures", "papre"], "--figures 'papre' is not known; did you mean paper"),
        (["run", "m", "--layout", "von-oswald"], "did you mean von-oswald-haiku"),
        (["run", "m", "--layout", "mine.tml"], "layout 'mine.tml' is not known"),
        (["run", "m", "--model-args", "tied"], "'tied': expected name=value"),
        (["run", "m", "--seed"], "expected one argument"),
        (["run", "m", "--config", "missing.toml"], "--config missing.toml: not readable"),
        (["list", "probe"], "did you mean probes"),
        (["show", "a", "b"], "'b' is one argument too many"),
        (["figures", "r", "--formats", "pdf,gif"], "--formats 'gif' is not known"),
    ],
)
def test_mistakes_are_named_with_what_would_be_right(words: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)):
        read(words)


TABLE = {
    "model": "m",
    "revisions": ["seed0", "seed1"],
    "batch-size": 64,
    "force": True,
    "dtype": "float64",
    "probe-args": {"learning_rate": 5.9},
}


@pytest.mark.parametrize("suffix", [".toml", ".json"])
def test_the_configuration_file_says_what_the_command_line_does_not(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"run{suffix}"
    toml = """
        model = "m"
        revisions = ["seed0", "seed1"]
        batch-size = 64
        force = true
        dtype = "float64"
        probe-args = { learning_rate = 5.9 }
    """
    path.write_text(json.dumps(TABLE) if suffix == ".json" else toml)
    found = options("--config", str(path), "--batch-size", "8")
    assert found == RunOptions(
        models=("m",),
        revisions=("seed0", "seed1"),
        batch_size=8,
        force=True,
        dtype="float64",
        probe_args={"learning_rate": 5.9},
    )


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("batchsize", 3, "option 'batchsize' is not known; did you mean batch_size"),
        ("force", 1, "force = 1: expected true or false"),
        ("limit", 0, "--limit 0: expected"),
        ("limit", True, "limit = True"),
        ("seed", None, "seed = None"),
        ("config", "other.toml", "option 'config' is not known"),
    ],
)
def test_mistakes_in_the_configuration_file_name_the_key(tmp_path: Path, key: str, value: object, said: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(json.dumps({"model": "m", key: value}))
    with pytest.raises(UsageError, match=re.escape(said)):
        options("--config", str(path))


def test_help_lists_every_model_argument(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parse(["run", "--help"])
    text = capsys.readouterr().out
    assert [name for name in MODEL_ARGS if f"\n  {name} " not in text] == []
