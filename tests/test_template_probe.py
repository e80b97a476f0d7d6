"""The template of a probe of one's own: installed beside mesascope it gets all that our own probes get, and the key of
a report holds what can change its numbers, and no more.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib import resources
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mesascope.analyses.commands import cli

ROOT = Path(__file__).resolve().parents[1]
TEMPLATE = ROOT / "docs" / "template_probe"
GUIDE = ROOT / "docs" / "write-a-probe.md"
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
        shutil.copytree(installed, folder / "mesascope" / layer, symlinks=True)  # with the bytecode, which takes long
    (folder / "mesascope" / "__init__.py").touch()  # a package by itself: no other installation adds to it
    (folder / "mesascope" / "analyses" / "_build.json").unlink(missing_ok=True)
    shutil.copytree(template, folder / "site")
    derived = "from mesascope import probes\n\n\nclass OneFile(probes.InductionHeads):\n    name = 'one-file'\n"
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


# -- what it gets ------------------------------------------------------------------------------------------------------

SETTINGS = ("--n-sequences", "4", "--lengths", "8,12", "--first-token", "dropped")
LAST = "induction-2layer-seed0-step4000"


@pytest.fixture(scope="module")
def installed(template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """An empty folder to work in, where the template is installed."""
    folder = tmp_path_factory.mktemp("work")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(template)
        patch.chdir(folder)
        yield folder
    for name in [name for name in sys.modules if name.split(".")[0] == "head_reach"]:
        del sys.modules[name]


@pytest.fixture(scope="module")
def reports(installed: Path) -> Path:
    """Two training steps, measured by the command line: a report each, and one over both."""
    words = ["run", "induction-2layer", "-p", "head-reach", "--revision", "step0,step4000", *SETTINGS, "-q"]
    assert cli.main(words) == 0
    return installed / "reports"


def only_report(folder: Path) -> Path:
    (report,) = folder.glob("head-reach/*/report.json")
    return report.parent


@pytest.fixture(scope="module")
def member(reports: Path) -> Path:
    return only_report(reports / LAST)


@pytest.fixture(scope="module")
def family(reports: Path) -> Path:
    return only_report(reports / "induction-2layer")


def test_a_process_of_its_own_lists_it(template: Path, tmp_path: Path) -> None:
    code = """if True:
        from mesascope.analyses.commands.cli import main
        assert main(["list", "probes"]) == 0
        print("=" * 9, flush=True)
        assert main(["run", "-p", "head-reach", "--help"]) == 0
    """
    done = python("-c", code, path=[template], cwd=tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    listed, helped = done.stdout.split("=" * 9 + "\n")
    assert "head-reach" in listed
    said = " ".join(helped.split())
    for setting, meaning in {
        "--n-sequences": "random sequences of each length",
        "--lengths": "tokens in a sequence",
        "--first-token": '"kept", or "dropped"',
    }.items():
        assert re.search(f"{setting} .*{re.escape(meaning)}", said)


def test_every_file_of_a_report_is_there(member: Path) -> None:
    """Of one of several checkpoints: the main figure, as PNG."""
    figures = {f"figures/heads.{kind}" for kind in ("png", "csv", "txt", "tex")}
    tables = {f"tables/{name}.tex" for name in ("measures", "heads", "reach_8", "reach_12")}
    others = {"report.json", "measures.csv", "arrays.safetensors", "report.html", "timing.json"}
    found = {path.relative_to(member).as_posix() for path in member.rglob("*") if path.is_file()}
    assert found == figures | tables | others


def test_the_table_has_a_row_for_each_null(member: Path) -> None:
    table = pd.read_csv(member / "measures.csv")
    reach = table[table.metric == "reach_12"]
    assert sorted(set(reach.null)) == ["even attention", "shuffled keys"]
    assert len(reach) == 2 * 8
    assert reach.ci_low.notna().all()
    assert (reach[reach.null == "shuffled keys"].p_adjusted <= 1).all()


def test_the_page_has_the_claim_and_the_captions(member: Path) -> None:
    from head_reach.figures import FIGURES

    page = " ".join((member / "report.html").read_text().split())
    assert "Attention to the first token was left out." in page
    captions = {name: " ".join((FIGURES[name].__doc__ or "").split()).replace("'", "&#39;") for name in FIGURES}
    assert [name for name, caption in captions.items() if caption in page] == ["heads"]
    assert "Mean reach over all heads on 12 tokens" in page


def test_latex_tables_have_a_row_a_layer(member: Path) -> None:
    rows = [line for line in (member / "tables" / "reach_12.tex").read_text().splitlines() if line.endswith(r"\\")]
    assert [row.count("&") for row in rows] == [4, 4, 4]


def test_training_steps_are_an_axis_and_a_figure(family: Path) -> None:
    record = json.loads((family / "report.json").read_text())
    assert record["measures"]["reach"]["axes"] == ["step", "length", "layer", "head"]
    drawn = pd.read_csv(family / "figures" / "trajectory.csv")
    assert set(drawn[drawn.kind == "estimate"]["at"]) == {0, 4000}


def test_the_recorded_command_makes_the_same_report(member: Path) -> None:
    command = shlex.split(json.loads((member / "report.json").read_text())["provenance"]["command"])
    assert cli.main([*command[1:], "-o", "again", "--figures", "none", "-q"]) == 0
    assert only_report(Path("again") / LAST).name == member.name


def test_show_compare_and_figures_read_it(member: Path, reports: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["show", str(member)]) == 0
    assert "Mean reach over all heads on 12 tokens" in " ".join(capsys.readouterr().out.split())
    assert cli.main(["compare", str(reports / "induction-2layer-seed0-step0"), str(reports / LAST)]) == 0
    assert "mean_reach_12" in capsys.readouterr().out
    assert cli.main(["figures", str(member), "--style", "icml", "--formats", "pdf", "-o", "drawn"]) == 0
    assert {path.name for path in Path("drawn").rglob("*.pdf")} == {"heads.pdf", "layers.pdf"}


def test_it_is_made_again_to_the_byte(member: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["verify", str(member), "-q"]) == 0
    assert "bit-identical" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (("--n-sequences", "1"), "n_sequences = 1; expected a whole number of at least 2"),
        (("--first-token", "drop"), "first_token = 'drop'; expected kept or dropped; did you mean dropped?"),
        (("--lengths", "8,few"), "expected a list of whole numbers of at least 4"),
        (("--length", "8"), "--lengths"),
    ],
)
def test_a_wrong_setting_is_one_clear_line(
    installed: Path, capsys: pytest.CaptureFixture[str], wrong: tuple[str, str], words: str
) -> None:
    assert cli.main(["run", "induction-2layer", "-p", "head-reach", *wrong]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


# -- the guide ---------------------------------------------------------------------------------------------------------


def fenced(language: str) -> list[tuple[str, str]]:
    """What stands behind the language of each fenced block, and the block."""
    found = re.findall(rf"^```{language}([^\n]*)\n(.*?)^```", GUIDE.read_text(), flags=re.DOTALL | re.MULTILINE)
    return [(rest.strip(), block) for rest, block in found]


def test_the_guide_quotes_the_template() -> None:
    quoted = [(rest.removeprefix("file="), block) for rest, block in fenced("python") + fenced("toml")]
    assert len(quoted) >= 8
    assert [path for path, block in quoted if block not in (TEMPLATE / path).read_text()] == []


def test_the_commands_of_the_guide_run(installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    lines = [shlex.split(line.removeprefix("$ ")) for _, block in fenced("shell") for line in block.splitlines()]
    commands = [words[1:] for words in lines if words[0] == "mesascope"]
    assert len(commands) >= 8
    for words in commands:
        few = ["--n-sequences", "4", "--figures", "none"] if words[0] == "run" and "--help" not in words else []
        assert cli.main([words[0], *few, *words[1:]]) == 0, words


@pytest.mark.parametrize("page", ["architecture.md", "write-a-probe.md"])
def test_the_pages_name_files_that_exist(page: str) -> None:
    named = re.findall(r"`((?:[a-z_]+/)+(?:[a-z_]+\.py)?)`", (ROOT / "docs" / page).read_text())
    assert len(named) > 3
    folders = (ROOT, TEMPLATE, ROOT / "models", ROOT / "probes", ROOT / "probes" / "gd_alignment")
    assert {path for path in named if not any((folder / path).exists() for folder in folders)} == set()
