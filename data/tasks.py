"""A user's own regression tasks, from an `.npz` file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from .batch import Batch, tensors_sha256
from .errors import TaskError
from .npz import read_npz
from .recipe import Recipe


def load_tasks(path: str | Path, limit: int | None = None, d_out: int = 1) -> Batch:
    """Read `inputs` [task, token, d_in + d_out] and `targets` [task] or [task, d_in + d_out] (label last).

    The last token is the query, its y slot 0 (or -W0 x for a model constructed with start weights W0). `limit` keeps
    the first `limit` tasks; the recipe's digest is of those.
    """
    path = Path(path)
    arrays = _read(path)
    inputs = _finite(path, "inputs", arrays["inputs"])
    targets = _finite(path, "targets", arrays["targets"])
    if inputs.ndim != 3 or 0 in inputs.shape or inputs.shape[1] < 2:
        raise TaskError(
            f"{path.name}: inputs have shape {list(inputs.shape)}; expected [task, token, feature] with at least one"
            " task, one context token and the query token"
        )
    targets = _label_last(path, targets, inputs, d_out)
    if limit is not None:
        if limit < 1:
            raise TaskError(f"limit = {limit}; expected at least 1 task")
        inputs, targets = inputs[:limit], targets[:limit]
    x, y = torch.from_numpy(inputs.copy()), torch.from_numpy(targets.copy())
    return Batch(x, y, Recipe("file", {"file": path.name, "limit": limit}, None, len(x), tensors_sha256(x, y)))


def _read(path: Path) -> dict[str, np.ndarray]:
    arrays = read_npz(path, TaskError)
    if missing := {"inputs", "targets"} - set(arrays):
        raise TaskError(
            f"{path.name}: lacks {sorted(missing)}; found {sorted(arrays)}; write it with np.savez(FILE, inputs=…,"
            " targets=…)"
        )
    return arrays


def _finite(path: Path, name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "fiu":
        raise TaskError(f"{path.name}: {name} have dtype {array.dtype}; expected real numbers")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise TaskError(f"{path.name}: {name} hold {array[place]} at {list(place)}; expected finite numbers")
    return array


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
