"""A user's own regression tasks, from an `.npz` file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from .batch import Batch, tensors_sha256
from .errors import TaskError
from .recipe import Recipe
from .task_arrays import first_tasks, read_arrays


def load_tasks(path: str | Path, limit: int | None = None, d_out: int = 1) -> Batch:
    """Read `inputs` [task, token, d_in + d_out] and `targets` [task] or [task, d_in + d_out] (label last).

    The last token is the query, its y slot 0 (or -W0 x for a model constructed with start weights W0). `limit` keeps
    the first `limit` tasks; the recipe's digest is of those.
    """
    path = Path(path)
    inputs, targets = read_arrays(path, "inputs", "targets")
    if inputs.ndim != 3 or 0 in inputs.shape or inputs.shape[1] < 2:
        raise TaskError(
            f"{path.name}: inputs have shape {list(inputs.shape)}; expected [task, token, feature] with at least one"
            " task, one context token and the query token"
        )
    targets = _label_last(path, targets, inputs, d_out)
    inputs, targets = first_tasks(limit, inputs, targets)
    x, y = torch.from_numpy(inputs.copy()), torch.from_numpy(targets.copy())
    return Batch(x, y, Recipe("file", {"file": path.name, "limit": limit}, None, len(x), tensors_sha256(x, y)))


def _label_last(path: Path, targets: np.ndarray, inputs: np.ndarray, d_out: int) -> np.ndarray:
    n, _, feature = inputs.shape
    if targets.shape == (n,):
        targets = targets[:, None]
    if targets.ndim != 2 or len(targets) != n or targets.shape[1] not in (d_out, feature):
        labels = f"[{n}]" if d_out == 1 else f"[{n}, {d_out}]"
        raise TaskError(
            f"{path.name}: targets have shape {list(targets.shape)}; expected {labels} or [{n}, {feature}], label last"
        )
    return targets[:, -d_out:]
