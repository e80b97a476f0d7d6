"""Every engine by its name. Other packages register theirs as entry points of the group `mesascope.engines`."""

from __future__ import annotations

from importlib.metadata import entry_points

from ...data.errors import UsageError, nearest
from .engines import Engine, inline, local
from .on_ray import on_ray
from .on_slurm import on_slurm

GROUP = "mesascope.engines"
BUILT_IN: dict[str, Engine] = {"inline": inline, "local": local, "slurm": on_slurm, "ray": on_ray}


def engine_named(name: str) -> Engine:
    """A built-in engine, or one of an installed package. UsageError for another name."""
    if name in BUILT_IN:
        return BUILT_IN[name]
    others = {point.name: point for point in entry_points(group=GROUP)}
    if name not in others:
        raise UsageError(f"engine {name!r} is not known; {nearest(name, {*BUILT_IN, *others})}")
    return others[name].load()
