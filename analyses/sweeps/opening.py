"""The checkpoint of an item, opened."""

from __future__ import annotations

import torch

from ...models.opening.loading import load_all
from ...models.subject import Subject
from .tasks import ItemTask


def opened(task: ItemTask) -> Subject:
    """As the task says: where its weights go, as which type, and how its files are read."""
    (subject,) = load_all(
        task.item.model,
        task.item.revision,
        layout=task.layout,
        model_config=task.model_config,
        model_args=task.model_args,
        device=task.device,
        dtype=getattr(torch, task.dtype) if task.dtype else None,
    )
    return subject
