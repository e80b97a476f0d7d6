"""Build hooks: every package ships, and what is built knows its git commit and whether the sources had changed.

The record goes into the build tree and into source archives, never into the sources. What is built from a source
archive, without git, keeps the record that was baked into the archive.
"""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from typing import Any

from setuptools import find_packages, setup
from setuptools.command.build_py import build_py
from setuptools.command.sdist import sdist

ROOT = Path(__file__).resolve().parent
RECORD = Path("analyses", "_build.json")
TOP = "top"
"""Holds the package's own `__init__.py` and nothing else. It is not called `mesascope`: whoever stands in a checkout
must not import another copy than the one installed."""
FOLDERS = ("analyses", "data", "models", "probes")
SHIPPED = (TOP, *FOLDERS, "pyproject.toml", "setup.py")


def git(*arguments: str) -> str:
    command = ["git", "-c", f"safe.directory={ROOT}", "-C", str(ROOT), *arguments]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()


def build_record() -> dict[str, Any]:
    """The commit, and whether anything that ships differs from it; both null when nobody knows."""
    try:
        # an archive unpacked somewhere inside another project's checkout must not take that project's commit
        if Path(git("rev-parse", "--show-toplevel")).resolve() == ROOT:
            return {"commit": git("rev-parse", "HEAD"), "dirty": bool(git("status", "--porcelain", "--", *SHIPPED))}
    except (OSError, subprocess.CalledProcessError):
        pass
    baked = ROOT / RECORD
    return json.loads(baked.read_text()) if baked.is_file() else {"commit": None, "dirty": None}


def write_record(path: Path) -> None:
    # the sources may be hard-linked into an archive's tree: replace the name, never write through it
    path.unlink(missing_ok=True)
    path.write_text(json.dumps(build_record()) + "\n")


class BuildPy(build_py):
    def run(self) -> None:
        super().run()
        if not self.editable_mode:
            write_record(Path(self.build_lib, "mesascope", RECORD))


class SourceArchive(sdist):
    def make_release_tree(self, base_dir: str, files: list[str]) -> None:
        super().make_release_tree(base_dir, files)
        write_record(Path(base_dir, RECORD))


def packages() -> list[str]:
    """The front, and the four folders, each with every package in it: none can be forgotten, hence none can vanish
    from the wheel."""
    return [
        "mesascope",
        *(
            f"mesascope.{name}"
            for folder in FOLDERS
            for name in (folder, *(f"{folder}.{package}" for package in find_packages(folder)))
        ),
    ]


setup(packages=packages(), cmdclass={"build_py": BuildPy, "sdist": SourceArchive})
