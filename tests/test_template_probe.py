"""The template of a probe of one's own: installed beside mesascope it gets all that our own probes get, and the key of
a report holds what can change its numbers, and no more.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = ROOT / "docs" / "template_probe"
LAYERS = ("analyses", "data", "models", "probes")
BYTECODE = shutil.ignore_patterns("__pycache__")


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that holds the template as pip would leave it: its package, and what its pyproject.toml declares."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copytree(TEMPLATE / "head_reach", folder / "head_reach", ignore=BYTECODE)
    project = tomllib.loads((TEMPLATE / "pyproject.toml").read_text())["project"]
    info = folder / f"head_reach-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    lines = [
        line
        for group, points in project["entry-points"].items()
        for line in (f"[{group}]", *(f"{name} = {target}" for name, target in points.items()))
    ]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    return folder


def python(*arguments: str, path: list[Path], cwd: Path, given: str | None = None) -> subprocess.CompletedProcess[str]:
    """A Python of its own that finds packages in these folders first."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path)), "OMP_NUM_THREADS": "1"}
    line = [sys.executable, "-P", *arguments]
    return subprocess.run(line, capture_output=True, text=True, env=environment, cwd=cwd, input=given, check=False)


def test_its_own_tests_pass(template: Path, tmp_path: Path) -> None:
    shutil.copytree(TEMPLATE, tmp_path / "project", ignore=BYTECODE)
    answer = python("-m", "pytest", "-q", "-p", "no:cacheprovider", path=[template], cwd=tmp_path / "project")
    assert answer.returncode == 0, answer.stdout


# -- the key of a report -----------------------------------------------------------------------------------------------

OUR_PROBES = {"gd-alignment", "induction-heads", "token-norms"}
EVERY_PROBE = OUR_PROBES | {"head-reach", "one-file"}
EDITS: dict[str, set[str]] = {
    # another probe, and what only draws or writes
    "mesascope/probes/__init__.py": set(),
    "mesascope/probes/newcomer/probe.py": set(),
    "mesascope/probes/gd_alignment/figures/__init__.py": set(),
    "mesascope/probes/drawing/marks.py": set(),
    "mesascope/analyses/reports/html.py": set(),
    "mesascope/analyses/commands/cli.py": set(),
    "site/head_reach/figures/__init__.py": set(),
    "site/head_reach/__pycache__/reach.cpython-311.pyc": set(),
    # one probe's own; `one-file` is derived from induction-heads
    "mesascope/probes/token_norms/claim.py": {"token-norms"},
    "mesascope/probes/gd_alignment/probe.py": {"gd-alignment"},
    "mesascope/probes/induction_heads/scores.py": {"induction-heads", "one-file"},
    "site/head_reach/reach.py": {"head-reach"},
    "site/head_reach/words.txt": {"head-reach"},
    "site/one_file.py": {"one-file"},
    # rooms that several share
    "mesascope/data/recipe.py": EVERY_PROBE,
    "mesascope/models/attention.py": EVERY_PROBE,
    "mesascope/probes/measure.py": EVERY_PROBE | {"aggregation"},
    "mesascope/probes/statistics/bootstrap.py": EVERY_PROBE | {"aggregation"},
    "mesascope/probes/statistics/sign_flips.py": {"induction-heads", "one-file"},
    "mesascope/probes/statistics/ranks.py": {"token-norms"},
    "mesascope/analyses/runs/aggregation.py": {"aggregation"},
}
"""A file that is edited, or made, and whose digest that changes."""

ASK = """
import json, sys
from pathlib import Path
from head_reach.probe import HeadReach
from one_file import OneFile
from mesascope import models
from mesascope.analyses.reports import code
from mesascope.analyses.runs.family import finished_family, run_family
from mesascope.analyses.runs.running import finished
from mesascope.probes import GDAlignment, InductionHeads, TokenNorms

class TypedIn(HeadReach):
    name = "typed-in"

probes = {kind.name: kind for kind in (GDAlignment, InductionHeads, TokenNorms, HeadReach, OneFile)}
probe = HeadReach(n_sequences=2, lengths=(4,))
subjects = [models.load("induction-2layer", revision=f"seed0-step{step}") for step in (0, 4000)]
members, whole = run_family(subjects, probe)
for report in (*members, whole):
    report.save("out", figures="none")

def state():
    code.code_sha256.cache_clear()
    code.family_code_sha256.cache_clear()
    digests = {name: code.code_sha256(kind) for name, kind in probes.items()}
    return {
        "digests": digests | {"aggregation": code.family_code_sha256()},
        "member": finished("out", subjects[0], probe) is not None,
        "whole": finished_family("out", subjects, probe) is not None,
    }

def after(edit):
    path = Path(edit)
    before = path.read_bytes() if path.is_file() else None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes((before or b"") + b"\\n# edited\\n")
    found = state()
    path.unlink() if before is None else path.write_bytes(before)
    return found

print(json.dumps({
    "package": str(code.PACKAGE),
    "source_state": code.source_state(),
    "before": state(),
    "after": {edit: after(edit) for edit in json.load(sys.stdin)},
    "again": state(),
    "files": sorted(code.probe_files(HeadReach).values()),
    "typed in": sorted(code.probe_files(TypedIn).values()),
}))
"""


@pytest.fixture(scope="module")
def keys(template: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a copy of the sources, in no checkout, says of its keys before and after each edit."""
    folder = tmp_path_factory.mktemp("copy")
    for layer in LAYERS:
        installed = Path(str(resources.files(f"mesascope.{layer}")))
        shutil.copytree(installed, folder / "mesascope" / layer, ignore=BYTECODE, symlinks=True)
    (folder / "mesascope" / "__init__.py").touch()  # a package by itself: no other installation adds to it
    (folder / "mesascope" / "analyses" / "_build.json").unlink(missing_ok=True)
    shutil.copytree(template, folder / "site")
    derived = "from mesascope.probes import InductionHeads\n\n\nclass OneFile(InductionHeads):\n    name = 'one-file'\n"
    (folder / "site" / "one_file.py").write_text(derived)
    answer = python("-c", ASK, path=[folder, folder / "site"], cwd=folder, given=json.dumps(list(EDITS)))
    assert answer.returncode == 0, answer.stderr
    found = json.loads(answer.stdout)
    assert found["package"] == str(folder.resolve() / "mesascope")
    return found


def test_a_copy_that_nobody_changed_finds_its_reports(keys: dict[str, Any]) -> None:
    assert keys["source_state"] == {"commit": None, "dirty": None}
    assert (keys["before"]["member"], keys["before"]["whole"]) == (True, True)
    assert keys["again"] == keys["before"]


@pytest.mark.parametrize("edit", EDITS)
def test_an_edit_changes_the_keys_whose_numbers_it_can_change(keys: dict[str, Any], edit: str) -> None:
    before, after = keys["before"]["digests"], keys["after"][edit]["digests"]
    assert {name for name in before if before[name] != after[name]} == EDITS[edit]


@pytest.mark.parametrize("edit", EDITS)
def test_a_finished_report_is_found_unless_its_numbers_may_have_changed(keys: dict[str, Any], edit: str) -> None:
    found = keys["after"][edit]
    assert found["member"] == ("head-reach" not in EDITS[edit])
    assert found["whole"] == (not EDITS[edit] & {"head-reach", "aggregation"})


def test_every_file_that_is_edited_but_the_new_ones_is_there() -> None:
    new = {"mesascope/probes/newcomer/probe.py", "site/head_reach/words.txt", "site/one_file.py"}
    new |= {edit for edit in EDITS if edit.endswith(".pyc")}
    places = {"mesascope": ROOT, "site": TEMPLATE}
    paths = {edit: places[edit.partition("/")[0]] / edit.partition("/")[2] for edit in set(EDITS) - new}
    assert {edit for edit, path in paths.items() if not path.is_file()} == set()


def test_files_are_digested_under_names_that_no_machine_changes(keys: dict[str, Any]) -> None:
    assert {name.split(".")[0] for name in keys["files"]} == {"head_reach", "mesascope"}
    assert "head_reach.reach" in keys["files"]
    assert "mesascope.probes.statistics.sample_measures" in keys["files"]
    assert not [name for name in keys["files"] if "figures" in name or "drawing" in name]


def test_a_probe_that_was_typed_in_has_no_files(keys: dict[str, Any]) -> None:
    assert keys["typed in"] == []
