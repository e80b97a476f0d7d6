"""Which modules of the probes are formulas: functions of arrays and tensors, without measures and reports."""

from __future__ import annotations

import inspect
import pkgutil
import re
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType

from mesascope import probes

_ARRAY = re.compile(r"\b(Float|Float64|Int|Bool|UInt\w*)\[")
_MORE = re.compile(r"^from \.\S*\b(measure|findings|sample_measures|probe|streaming) import", flags=re.MULTILINE)
"""What a module imports that makes measures, watches a model or knows a probe."""


def of_package(package: str) -> Iterator[ModuleType]:
    for found in pkgutil.iter_modules(import_module(package).__path__):
        if not found.ispkg and not found.name.endswith(("_measures", "_watcher")):
            module = import_module(f"{package}.{found.name}")
            if not _MORE.search(inspect.getsource(module)) and any(map(speaks_of_arrays, public(module).values())):
                yield module


def shared() -> dict[str, list[ModuleType]]:
    """By room: packages among the probes that are no probe."""
    own = {probes.home_of(name).split(".")[2] for name in probes.PROBES}
    rooms = [found.name for found in pkgutil.iter_modules(probes.__path__) if found.ispkg and found.name not in own]
    found = {room: list(of_package(f"mesascope.probes.{room}")) for room in rooms if room != "drawing"}
    return {room: modules for room, modules in found.items() if modules}


def public(module: ModuleType) -> dict[str, object]:
    """The functions and classes that a module itself defines, by name."""
    return {
        name: held
        for name, held in vars(module).items()
        if callable(held) and getattr(held, "__module__", "") == module.__name__ and not name.startswith("_")
    }


def speaks_of_arrays(what: object) -> bool:
    """Whether arguments or the result of a function are arrays, by its annotations."""
    return inspect.isfunction(what) and bool(_ARRAY.search(str(what.__annotations__)))
