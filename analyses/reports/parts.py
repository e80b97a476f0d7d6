"""What stands in a probe's package for its reports: columns of the table of heads, definitions of measures.

A part is found, by name, in the module of that name in the probe's package, or in the module that an entry point of the
group `mesascope.NAME` gives for the probe.
"""

from __future__ import annotations

from functools import cache
from importlib import import_module
from importlib.metadata import entry_points
from importlib.util import find_spec
from typing import Any

from ...probes import registered


@cache
def part(probe: str, name: str) -> Any | None:
    """The module, or None where the probe has none, or is not installed here. Found once: reading the entry points of
    all that is installed takes 20 ms.
    """
    if points := entry_points(group=f"mesascope.{name}", name=probe):
        return next(iter(points)).load()
    package = registered().get(probe, "").partition(":")[0].rpartition(".")[0]
    if package and find_spec(f"{package}.{name}") is not None:
        return import_module(f"{package}.{name}")
    return None
