"""The code behind a result: which commit it is, and a digest of the sources that can change its numbers."""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import os
import subprocess
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from ...probes.probe import Probe

PACKAGE = Path(__file__).resolve().parents[2]
LAYERS = ("analyses", "data", "models", "probes")
PROBES = "mesascope.probes"
DRAWING = ("figures", "drawing")
"""Packages, in or beside a probe's own, that change no number."""


def source_state() -> dict[str, Any]:
    """The commit of these sources, and whether they differ from it; null where nobody knows."""
    try:
        # installed into somebody's checkout, the package must not take that checkout's commit
        if Path(_git("rev-parse", "--show-toplevel")).resolve() == PACKAGE:
            return {"commit": _git("rev-parse", "HEAD"), "dirty": bool(_git("status", "--porcelain", "--", *LAYERS))}
    except (OSError, subprocess.CalledProcessError):
        pass
    baked = PACKAGE / "analyses" / "_build.json"
    return json.loads(baked.read_text(encoding="utf-8")) if baked.is_file() else {"commit": None, "dirty": None}


def _git(*arguments: str) -> str:
    elsewhere = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    line = ["git", "-c", f"safe.directory={PACKAGE}", "-C", str(PACKAGE), *arguments]
    return subprocess.run(line, capture_output=True, check=True, text=True, env=elsewhere).stdout.strip()


@cache
def code_sha256(probe: type[Probe]) -> str:
    """Digest of the sources that can change a number of this probe, and no others.

    data and models; the probe's own package, or its file where it is in none; and what these import of the rooms that
    probes share. Another probe, figures and the command line are not in it.
    """
    return _digest([*_below(PACKAGE / "data"), *_below(PACKAGE / "models"), *probe_files(probe)])


@cache
def family_code_sha256() -> str:
    """Digest of the sources that aggregate the reports of several checkpoints."""
    runs, statistics = PACKAGE / "analyses" / "runs", PACKAGE / "probes" / "statistics"
    return _digest([runs / "aggregation.py", runs / "family.py", statistics / "bootstrap.py"])


def probe_files(probe: type[Probe]) -> list[Path]:
    """The files of a probe's own package, and of the shared rooms that they import, directly or through each other."""
    source = inspect.getsourcefile(probe)
    if source is None:  # typed into an interpreter
        return []
    path = Path(source).resolve()
    own = list(_below(path.parent)) if "." in probe.__module__ else [path]
    package = probe.__module__.rpartition(".")[0]
    found: dict[Path, None] = dict.fromkeys(own)
    queue = [(file, _module(file, path.parent, package)) for file in own]
    while queue:
        file, module = queue.pop()
        for name in _imported(file, module):
            if name.startswith(f"{PROBES}.") and not set(name.split(".")) & set(DRAWING):
                shared = _file(name)
                if shared is not None and shared not in found:
                    found[shared] = None
                    queue.append((shared, name))
    return sorted(found)


def _below(folder: Path) -> Iterator[Path]:
    """Every source of a folder but those that draw."""
    for path in sorted(folder.rglob("*.py")):
        if not {*path.relative_to(folder).with_suffix("").parts} & set(DRAWING):
            yield path


def _module(file: Path, folder: Path, package: str) -> str:
    """The dotted name of a file in a package's folder."""
    parts = file.relative_to(folder).with_suffix("").parts
    return ".".join((package, *parts) if package else parts)


def _imported(file: Path, module: str) -> Iterator[str]:
    """Dotted names that a file imports, wherever it does; of `from x import y` both x and x.y, which may be a module."""
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    package = package.removesuffix(".__init__")
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base
            yield from (f"{base}.{alias.name}" for alias in node.names)


def _file(module: str) -> Path | None:
    """The source of one of our modules, without importing it; None where the name is no module."""
    path = PACKAGE.joinpath(*module.split(".")[1:])
    return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)


def _digest(files: Iterable[Path]) -> str:
    digest = hashlib.sha256()
    for path in files:
        name = path.relative_to(PACKAGE).as_posix() if path.is_relative_to(PACKAGE) else path.name
        digest.update(f"{name}\n".encode() + path.read_bytes())
    return digest.hexdigest()
