"""What a training held fixed, by the model itself or by its record."""

from __future__ import annotations

from collections.abc import Mapping

from ...models.subject import Source


def has_uniform_attention(source: Source) -> bool:
    """Whether every place attends to all others alike, whatever the weights are."""
    return source.facts.get("uniform_attention") is True


def has_frozen_beta(source: Source) -> bool:
    """Whether all that beta depends on kept its initial values."""
    recipe = source.record.get("recipe")
    return isinstance(recipe, Mapping) and recipe.get("frozen_beta") is True


def co_occurrence_is_told(source: Source) -> bool | None:
    """Whether a word is more often a target of sources that hold it; None where the record names no task."""
    recipe = source.record.get("recipe")
    tasks = recipe.get("tasks") if isinstance(recipe, Mapping) else None
    if not isinstance(tasks, Mapping) or not {"n_words", "n_tokens"} <= set(tasks):
        return None
    return tasks["n_tokens"] != tasks["n_words"]
