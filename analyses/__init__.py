"""Analyses: probes run on checkpoints, and the reports they leave."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .comparing import compare
    from .family import run_family
    from .recipes import RECIPES, LanguageRecipe, TrainingRecipe
    from .report import Report
    from .running import run
    from .training import train
    from .verifying import Verification, verify

_HOMES = {
    "LanguageRecipe": "recipes",
    "RECIPES": "recipes",
    "Report": "report",
    "TrainingRecipe": "recipes",
    "Verification": "verifying",
    "compare": "comparing",
    "run": "running",
    "run_family": "family",
    "train": "training",
    "verify": "verifying",
}
__all__ = [
    "RECIPES",
    "LanguageRecipe",
    "Report",
    "TrainingRecipe",
    "Verification",
    "compare",
    "run",
    "run_family",
    "train",
    "verify",
]


def __getattr__(name: str) -> Any:
    """Import on first use, so that naming the package does not import torch (PEP 562).

    No module here has the name of something exported: once imported, a submodule would take that name's place.
    """
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
