"""Analyses: probes run on checkpoints, and the reports they leave."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .exporting.exporting import export
    from .reports.overview import overview
    from .reports.report import Report
    from .reproduction.reproducing import reproduce
    from .runs.asking import run
    from .runs.callback import Callback
    from .runs.comparing import compare
    from .runs.family import run_family
    from .runs.verifying import Verification, verify
    from .sweeps.over_time import timeline
    from .sweeps.results import SweepResult
    from .sweeps.sweeping import sweep
    from .training.recipe_kinds import CopyRecipe, LanguageRecipe, PopulationRecipe, SoftmaxRecipe, TrainingRecipe
    from .training.recipes import RECIPES
    from .training.training import train

_HOMES = {
    "Callback": "runs.callback",
    "CopyRecipe": "training.recipe_kinds",
    "LanguageRecipe": "training.recipe_kinds",
    "PopulationRecipe": "training.recipe_kinds",
    "RECIPES": "training.recipes",
    "Report": "reports.report",
    "SoftmaxRecipe": "training.recipe_kinds",
    "SweepResult": "sweeps.results",
    "TrainingRecipe": "training.recipe_kinds",
    "Verification": "runs.verifying",
    "compare": "runs.comparing",
    "export": "exporting.exporting",
    "overview": "reports.overview",
    "reproduce": "reproduction.reproducing",
    "run": "runs.asking",
    "run_family": "runs.family",
    "sweep": "sweeps.sweeping",
    "timeline": "sweeps.over_time",
    "train": "training.training",
    "verify": "runs.verifying",
}
__all__ = [
    "RECIPES",
    "Callback",
    "CopyRecipe",
    "LanguageRecipe",
    "PopulationRecipe",
    "Report",
    "SoftmaxRecipe",
    "SweepResult",
    "TrainingRecipe",
    "Verification",
    "compare",
    "export",
    "overview",
    "reproduce",
    "run",
    "run_family",
    "sweep",
    "timeline",
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


def __dir__() -> list[str]:
    return sorted(__all__)
