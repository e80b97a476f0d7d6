"""The configuration file of a run: which options it may hold, and who wins."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import yaml
from mesascope.analyses.commands.arguments import parse
from mesascope.analyses.commands.run_options import RunOptions, run_options
from mesascope.data.errors import UsageError

TABLE = {
    "model": "m",
    "revisions": ["seed0", "seed1"],
    "batch-size": 64,
    "force": True,
    "dtype": "float64",
    "periods": [20, 30],
    "limit": 5,
    "probe-args": {"learning_rate": 5.9},
}
TOML = """
    model = "m"
    revisions = ["seed0", "seed1"]
    batch-size = 64
    force = true
    dtype = "float64"
    periods = [20, 30]
    limit = 5
    probe-args = { learning_rate = 5.9 }
"""


def options(*words: str) -> RunOptions:
    return run_options(parse(["run", *words])[1])


@pytest.mark.parametrize("suffix", [".toml", ".yaml", ".json"])
def test_the_configuration_file_says_what_the_command_line_does_not(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"run{suffix}"
    path.write_text(TOML if suffix == ".toml" else yaml.safe_dump(TABLE) if suffix == ".yaml" else json.dumps(TABLE))
    found = options("--config", str(path), "--batch-size", "8", "--limit", "6")
    assert found == RunOptions(
        models=("m",),
        revisions=("seed0", "seed1"),
        batch_size=8,
        force=True,
        dtype="float64",
        settings={"periods": [20, 30], "limit": "6", "learning_rate": 5.9},
    )


def test_text_in_the_file_is_read_as_on_the_command_line(tmp_path: Path) -> None:
    path = tmp_path / "run.toml"
    path.write_text('models = "a,b"\nrevision = "seed0"\nmodel-args = "n_layers=2,tied=true"\nfigures = "none"')
    found = options("--config", str(path))
    assert (found.models, found.revisions, found.figures) == (("a", "b"), ("seed0",), "none")
    assert found.model_args == {"n_layers": 2, "tied": True}


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("force", 1, "force = 1; expected true or false"),
        ("batch-size", 0, "batch_size = 0; expected a whole number of at least 1"),
        ("batch-size", True, "batch_size = True; expected"),
        ("seed", None, "seed = None; expected a whole number"),
        ("model-args", 3, "model_args = 3; expected values by name"),
    ],
)
def test_mistakes_in_the_configuration_file_name_the_key(tmp_path: Path, key: str, value: object, said: str) -> None:
    path = tmp_path / "run.json"
    path.write_text(json.dumps({"model": "m", key: value}))
    with pytest.raises(UsageError, match=re.escape(said)):
        options("--config", str(path))


def test_a_file_of_no_options_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "run.json"
    path.write_text("[1]")
    with pytest.raises(UsageError, match="holds a list; expected settings by name"):
        options("--config", str(path))
