"""What ships: every package, every data file, types, and the commit it was built from."""

from __future__ import annotations

import json
import os
import runpy
import shutil
import subprocess
import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[1]
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SETUPTOOLS = PYPROJECT["tool"]["setuptools"]
FOLDERS: dict[str, str] = SETUPTOOLS["package-dir"]


def shipped_files(folder: str) -> set[str]:
    """Files of a source folder that a user should get."""
    paths = (path for path in (ROOT / folder).rglob("*") if path.is_file() and "__pycache__" not in path.parts)
    return {path.relative_to(ROOT / folder).as_posix() for path in paths} - {"_build.json"}


def test_the_folders_are_those_that_are_mapped() -> None:
    folders = {path.parent.relative_to(ROOT).as_posix() for path in ROOT.glob("*/__init__.py")} - {"top"}
    assert {"mesascope": "top", **{f"mesascope.{folder}": folder for folder in folders}} == FOLDERS


@pytest.mark.parametrize("folder", sorted(FOLDERS.values()))
def test_every_folder_of_modules_is_a_package(folder: str) -> None:
    """A folder without `__init__.py` is no package to setuptools: it would vanish from the wheel."""
    inside = {path.parent for path in (ROOT / folder).rglob("*.py")}
    assert [path.relative_to(ROOT).as_posix() for path in inside if not (path / "__init__.py").is_file()] == []


@pytest.mark.parametrize(("package", "folder"), sorted(FOLDERS.items()))
def test_every_data_file_is_declared(package: str, folder: str) -> None:
    declared = {
        path.relative_to(ROOT / folder).as_posix()
        for holder, patterns in SETUPTOOLS["package-data"].items()
        if holder == package or (folder != "top" and holder.startswith(f"{package}."))
        for pattern in patterns
        for path in (ROOT / folder).joinpath(*holder.removeprefix(package).split(".")[1:]).glob(pattern)
    }
    data = {name for name in shipped_files(folder) if not name.endswith(".py")}
    assert "py.typed" in data
    assert data == declared - {"_build.json"}


@pytest.mark.parametrize(("package", "folder"), sorted(FOLDERS.items()))
def test_what_is_installed_is_what_the_sources_say(package: str, folder: str) -> None:
    installed = Path(str(resources.files(package)))
    for name in shipped_files(folder):
        assert (installed / name).is_file(), f"{package} lacks {name}"
        assert (installed / name).read_bytes() == (ROOT / folder / name).read_bytes(), f"{name} of {package} is stale"


def test_a_build_knows_its_commit_and_the_sources_hold_no_such_record() -> None:
    assert not (ROOT / "analyses" / "_build.json").exists()
    installed = Path(str(resources.files("mesascope.analyses")))
    if installed != ROOT / "analyses":  # an editable install runs the sources themselves
        assert set(json.loads((installed / "_build.json").read_text())) == {"commit", "dirty"}


def test_constraints_pin_everything_that_is_required() -> None:
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    pins = {pin.name.lower(): pin for pin in (Requirement(line) for line in lines if not line.startswith("#"))}
    project = PYPROJECT["project"]
    extras = project["optional-dependencies"]
    needed = [requirement for extra in ("test", "dev", "docs") for requirement in extras[extra]]
    wanted = [*project["dependencies"], *needed, *PYPROJECT["build-system"]["requires"]]
    for requirement in map(Requirement, wanted):
        pin = pins[requirement.name.lower()]
        (version,) = (clause.version for clause in pin.specifier)
        assert str(pin.specifier) == f"=={version}"
        assert requirement.specifier.contains(version), f"{pin} does not satisfy {requirement}"


def test_the_script_of_continuous_integration_can_be_run() -> None:
    script = ROOT / ".ci" / "run"
    if not script.exists():
        pytest.skip("a source archive carries no .ci")
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    """A small checkout that is built by the real setup.py."""
    root = tmp_path / "project"
    for folder in FOLDERS.values():
        (root / folder).mkdir(parents=True)
        (root / folder / "__init__.py").write_text("")
    (root / "README.md").write_text("read me")
    shutil.copy(ROOT / "setup.py", root)
    git(root, "init", "--quiet")
    git(root, "add", ".")
    git(root, "commit", "--quiet", "--message", "first")
    return root


def git(root: Path, *arguments: str) -> str:
    me = ["-c", "user.name=nobody", "-c", "user.email=nobody@localhost", "-c", "commit.gpgsign=false"]
    return subprocess.run(["git", "-C", str(root), *me, *arguments], check=True, capture_output=True, text=True).stdout


def record(root: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    setuptools = pytest.importorskip("setuptools")
    pytest.importorskip("setuptools.command.sdist")
    monkeypatch.setattr(setuptools, "setup", lambda **settings: None)
    return runpy.run_path(str(root / "setup.py"))["build_record"]()


def test_a_build_of_a_clean_checkout_names_the_commit(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (checkout / "README.md").write_text("changed, but it does not ship")
    assert record(checkout, monkeypatch) == {"commit": git(checkout, "rev-parse", "HEAD").strip(), "dirty": False}


@pytest.mark.parametrize("name", ["models/__init__.py", "probes/new.py"])
def test_a_changed_or_new_source_file_makes_a_build_dirty(
    checkout: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (checkout / name).write_text("x = 1")
    assert record(checkout, monkeypatch)["dirty"] is True


def test_without_git_the_record_of_the_archive_is_kept(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shutil.rmtree(checkout / ".git")
    assert record(checkout, monkeypatch) == {"commit": None, "dirty": None}
    baked = {"commit": "c" * 40, "dirty": False}
    (checkout / "analyses" / "_build.json").write_text(json.dumps(baked))
    assert record(checkout, monkeypatch) == baked


def test_an_archive_inside_another_checkout_does_not_take_its_commit(
    checkout: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    inner = checkout / "unpacked"
    shutil.copytree(checkout / "analyses", inner / "analyses")
    shutil.copy(checkout / "setup.py", inner)
    assert record(inner, monkeypatch) == {"commit": None, "dirty": None}
