"""Probes: measurements of a subject. A new one is a package, its tests, its guide page, and one line here."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .findings import Findings
    from .induction_heads.scores import prefix_matching_score
    from .measure import Claim, Measure
    from .probe import Probe

PROBES = {
    "gd-alignment": "mesascope.probes.gd_alignment.probe:GDAlignment",
    "induction-heads": "mesascope.probes.induction_heads.probe:InductionHeads",
    "token-norms": "mesascope.probes.token_norms.probe:TokenNorms",
}
"""Every probe of this package, `name -> "module:Class"`; nothing is imported until one is used."""

_HOMES = {
    "Claim": "measure",
    "Findings": "findings",
    "Measure": "measure",
    "Probe": "probe",
    "prefix_matching_score": "induction_heads.scores",
}
__all__ = ["PROBES", "Claim", "Findings", "Measure", "Probe", "prefix_matching_score", "registered"]


def registered() -> dict[str, str]:
    """Probes of this package and of others that declare the entry-point group `mesascope.probes`."""
    return {point.name: point.value for point in entry_points(group="mesascope.probes")} | PROBES


def __getattr__(name: str) -> Any:
    """Import on first use, so that naming the package does not import torch (PEP 562).

    `probes.GDAlignment` and every other class of `PROBES` is found here without a line of its own.
    """
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    for target in PROBES.values():
        module, _, kind = target.partition(":")
        if name == kind:
            return getattr(import_module(module), kind)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*__all__, *(target.partition(":")[2] for target in PROBES.values())])
