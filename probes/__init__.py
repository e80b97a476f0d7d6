"""Probes: measurements of a subject. A new one is one file, its test, and one line here."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .gd_alignment import GDAlignment
    from .induction_heads import InductionHeads
    from .induction_scores import prefix_matching_score
    from .measure import Claim, Measure
    from .probe import Findings, Probe
    from .token_norms import TokenNorms

PROBES = {
    "gd-alignment": "mesascope.probes.gd_alignment:GDAlignment",
    "induction-heads": "mesascope.probes.induction_heads:InductionHeads",
    "token-norms": "mesascope.probes.token_norms:TokenNorms",
}
"""Every probe of this package, `name -> "module:Class"`; nothing is imported until one is used."""

_HOMES = {
    "Claim": "measure",
    "Findings": "probe",
    "GDAlignment": "gd_alignment",
    "InductionHeads": "induction_heads",
    "Measure": "measure",
    "Probe": "probe",
    "TokenNorms": "token_norms",
    "prefix_matching_score": "induction_scores",
}
__all__ = [
    "PROBES",
    "Claim",
    "Findings",
    "GDAlignment",
    "InductionHeads",
    "Measure",
    "Probe",
    "TokenNorms",
    "prefix_matching_score",
    "registered",
]


def registered() -> dict[str, str]:
    """Probes of this package and of others that declare the entry-point group `mesascope.probes`."""
    return {point.name: point.value for point in entry_points(group="mesascope.probes")} | PROBES


def __getattr__(name: str) -> Any:
    """Import on first use, so that naming the package does not import torch (PEP 562)."""
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
