"""The code behind a result: its commit, and a digest of the sources that can change its numbers. Needs no torch."""

from __future__ import annotations

import ast
import hashlib
import inspect
import json
import os
import subprocess
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...probes import _HOMES, PROBES

if TYPE_CHECKING:
    from ...probes.probe import Probe

PACKAGE = Path(__file__).resolve().parents[2]
LAYERS = ("analyses", "data", "models", "probes")
SHARED = "mesascope.probes"
"""The package that holds the rooms which probes share."""
EXPORTS = {f"{SHARED}.{name}": f"{SHARED}.{home}" for name, home in _HOMES.items()} | {
    f"{SHARED}.{target.partition(':')[2]}": target.partition(":")[0] for target in PROBES.values()
}
"""Where each name stands that it exports."""
AGGREGATING = ("aggregation", "family")
"""Modules of `analyses/runs` that make one report of several."""
DRAWING = {"figures", "drawing"}
"""Packages and modules, in or beside a probe's own, that change no number."""
Files = dict[Path, str]
"""Files and their dotted names; a package's own file is `package.__init__`."""


def source_state() -> dict[str, Any]:
    """The commit of these sources, and whether they differ from it; null where nobody knows."""
    try:
        # installed into somebody's checkout, the package must not take that checkout's commit
        top, commit = _git("rev-parse", "--show-toplevel", "HEAD").splitlines()
        if Path(top).resolve() == PACKAGE:
            return {"commit": commit, "dirty": bool(_git("status", "--porcelain", "--", *LAYERS))}
    except (OSError, ValueError, subprocess.CalledProcessError):
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
    layers = [_package(f"mesascope.{layer}", PACKAGE / layer, "*.py") for layer in ("data", "models")]
    return _digest(layers[0] | layers[1] | probe_files(probe))


@cache
def family_code_sha256() -> str:
    """Digest of the sources that aggregate the reports of several checkpoints."""
    own = {PACKAGE / "analyses" / "runs" / f"{name}.py": f"mesascope.analyses.runs.{name}" for name in AGGREGATING}
    return _digest(_with_imports(own, {}))


def all_sources_sha256() -> str:
    """Digest of every source of mesascope."""
    layers = [_package(f"mesascope.{layer}", PACKAGE / layer, "*.py") for layer in LAYERS]
    return _digest(dict(file for layer in layers for file in layer.items()))


def both_codes_sha256(probe: type[Probe]) -> str:
    """Digest of the sources behind a report over several checkpoints: the probe's and the aggregation's."""
    return hashlib.sha256(f"{code_sha256(probe)}{family_code_sha256()}".encode()).hexdigest()


def probe_files(probe: type[Probe]) -> Files:
    """The files of a probe's own package, and what they import of it and of the shared rooms, directly or through each
    other; {} for a probe that was typed into an interpreter.
    """
    path = _source(probe)
    if path is None:
        return {}
    package = probe.__module__ if path.name == "__init__.py" else probe.__module__.rpartition(".")[0]
    if not package:
        return _with_imports({path: probe.__module__}, {})
    top, *below = package.split(".")
    roots = {} if top == "mesascope" else {top: path.parents[len(below)]}
    return _with_imports(_package(package, path.parent, "*"), roots)


def _source(probe: type[Probe]) -> Path | None:
    try:
        source = inspect.getsourcefile(probe)
    except (OSError, TypeError):  # nothing was ever written to a file
        return None
    path = Path(source or "").resolve()
    return path if path.is_file() else None


def _package(name: str, folder: Path, pattern: str) -> Files:
    """Every file of a package but those that draw. Data that a probe's package holds may change its numbers, too."""
    places = {path: path.relative_to(folder) for path in folder.rglob(pattern) if path.is_file()}
    return {
        path: ".".join((name, *place.parts)).removesuffix(".py")
        for path, place in places.items()
        if not {*place.with_suffix("").parts} & {*DRAWING, "__pycache__"}
    }


def _with_imports(own: Mapping[Path, str], roots: Mapping[str, Path]) -> Files:
    """Files, and those that they import, directly or through each other: of the shared rooms, and of other packages.

    roots:  other packages whose modules count, each with its folder
    """
    roots = {**roots, SHARED: PACKAGE / "probes"}
    found = dict(own)
    queue = [file for file in own if file.suffix == ".py"]
    while queue:
        file = queue.pop()
        for name in _imported(file.read_text(encoding="utf-8"), found[file]):
            target = None if set(name.split(".")) & DRAWING else _file(name, roots)
            if target is not None and target not in found:
                found[target] = f"{name}.__init__" if target.name == "__init__.py" else name
                queue.append(target)
    return found


@cache
def _imported(source: str, module: str) -> tuple[str, ...]:
    """Dotted names that a module imports, wherever it does; of `from x import y` both x and x.y, which may be a module.

    A name that `mesascope.probes` exports is followed to the module where it stands.
    """
    tree = ast.parse(source)
    names = list(_names(tree, module.split(".")[:-1]))
    if any(not given and name == SHARED for name, given in names):  # `from mesascope import probes`, and probes.X later
        names += [(f"{SHARED}.{node.attr}", True) for node in ast.walk(tree) if isinstance(node, ast.Attribute)]
    return tuple(EXPORTS.get(name, name) for name, _ in names)


def _names(tree: ast.AST, package: list[str]) -> Iterator[tuple[str, bool]]:
    """Dotted names, and whether only names in it are given: `from x import y` gives no x."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((alias.name, False) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*above, *([node.module] if node.module else [])])
            yield base, True
            yield from ((f"{base}.{alias.name}", False) for alias in node.names)


def _file(module: str, roots: Mapping[str, Path]) -> Path | None:
    """The source of a module, without importing it; None where the name is no module, or of a package not asked for."""
    for package, folder in roots.items():
        if module.startswith(f"{package}."):
            path = folder.joinpath(*module.removeprefix(f"{package}.").split("."))
            return next((p for p in (path.with_suffix(".py"), path / "__init__.py") if p.is_file()), None)
    return None


def _digest(files: Mapping[Path, str]) -> str:
    """By name, which is the same on every machine."""
    digest = hashlib.sha256()
    for path, name in sorted(files.items(), key=lambda item: item[1]):
        digest.update(f"{name}\n".encode() + path.read_bytes())
    return digest.hexdigest()
