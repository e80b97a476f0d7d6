"""Batches: inputs, and the recipes that make the same inputs again."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .batch import Batch, Recipe
    from .errors import CheckpointRefused, MesascopeError, TaskError, UsageError
    from .regression import LinearRegression, OtherDistributions
    from .tasks import load_tasks

_HOMES = {
    "Batch": "batch",
    "CheckpointRefused": "errors",
    "LinearRegression": "regression",
    "MesascopeError": "errors",
    "OtherDistributions": "regression",
    "Recipe": "batch",
    "TaskError": "errors",
    "UsageError": "errors",
    "load_tasks": "tasks",
}
__all__ = [
    "Batch",
    "CheckpointRefused",
    "LinearRegression",
    "MesascopeError",
    "OtherDistributions",
    "Recipe",
    "TaskError",
    "UsageError",
    "load_tasks",
]


def __getattr__(name: str) -> Any:
    """Import on first use, so that naming the package does not import torch (PEP 562)."""
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
