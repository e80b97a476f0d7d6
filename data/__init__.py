"""Inputs of models, and the recipes that reproduce them."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .batch import Batch, TokenBatch
    from .copying import CopyTask
    from .corpus import Corpus
    from .documents import DocumentSet, read_documents
    from .errors import CheckpointRefused, MesascopeError, TaskError, UsageError
    from .few_shot.drawn import draw_tasks
    from .few_shot.examples import Example, Examples
    from .few_shot.generated import generated_tasks
    from .few_shot.reading import read_examples
    from .few_shot.tasks import FewShotTask, FewShotTasks
    from .grammar import Documents, Grammar
    from .mapping import LabelMapping
    from .recipe import Recipe
    from .regression import GaussianRegression, LinearRegression, OtherDistributions
    from .repeated import RepeatedTokens
    from .segments import RepeatedSegments
    from .softmax_regression import SoftmaxRegression, load_softmax_tasks
    from .tasks import load_tasks

_HOMES = {
    "Batch": "batch",
    "CheckpointRefused": "errors",
    "CopyTask": "copying",
    "Corpus": "corpus",
    "DocumentSet": "documents",
    "Documents": "grammar",
    "Example": "few_shot.examples",
    "Examples": "few_shot.examples",
    "FewShotTask": "few_shot.tasks",
    "FewShotTasks": "few_shot.tasks",
    "GaussianRegression": "regression",
    "Grammar": "grammar",
    "LabelMapping": "mapping",
    "LinearRegression": "regression",
    "MesascopeError": "errors",
    "OtherDistributions": "regression",
    "Recipe": "recipe",
    "RepeatedSegments": "segments",
    "RepeatedTokens": "repeated",
    "SoftmaxRegression": "softmax_regression",
    "TaskError": "errors",
    "TokenBatch": "batch",
    "UsageError": "errors",
    "draw_tasks": "few_shot.drawn",
    "generated_tasks": "few_shot.generated",
    "load_softmax_tasks": "softmax_regression",
    "load_tasks": "tasks",
    "read_documents": "documents",
    "read_examples": "few_shot.reading",
}
__all__ = [
    "Batch",
    "CheckpointRefused",
    "CopyTask",
    "Corpus",
    "DocumentSet",
    "Documents",
    "Example",
    "Examples",
    "FewShotTask",
    "FewShotTasks",
    "GaussianRegression",
    "Grammar",
    "LabelMapping",
    "LinearRegression",
    "MesascopeError",
    "OtherDistributions",
    "Recipe",
    "RepeatedSegments",
    "RepeatedTokens",
    "SoftmaxRegression",
    "TaskError",
    "TokenBatch",
    "UsageError",
    "draw_tasks",
    "generated_tasks",
    "load_softmax_tasks",
    "load_tasks",
    "read_documents",
    "read_examples",
]


def __getattr__(name: str) -> Any:
    """Import on first use, so that naming the package does not import torch (PEP 562)."""
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
