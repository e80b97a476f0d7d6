"""The arrays of a user's tasks: real, finite numbers from an `.npz`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from jaxtyping import Float64

from .errors import TaskError
from .npz import read_npz


def read_arrays(path: Path, *names: str) -> tuple[Float64[np.ndarray, "*shape"], ...]:
    """The arrays of these names. Raises TaskError where one is missing or holds anything but finite numbers."""
    arrays = read_npz(path, TaskError)
    if missing := set(names) - set(arrays):
        wanted = ", ".join(f"{name}=…" for name in names)
        raise TaskError(
            f"{path.name}: lacks {sorted(missing)}; found {sorted(arrays)}; write it with np.savez(FILE, {wanted})"
        )
    return tuple(_finite(path, name, arrays[name]) for name in names)


def first_tasks(limit: int | None, *arrays: np.ndarray) -> tuple[np.ndarray, ...]:
    """The first `limit` tasks of each array."""
    if limit is not None and limit < 1:
        raise TaskError(f"limit = {limit}; expected at least 1 task")
    return tuple(array[:limit] for array in arrays)


def _finite(path: Path, name: str, array: np.ndarray) -> np.ndarray:
    if array.dtype.kind not in "fiu":
        raise TaskError(f"{path.name}: {name} have dtype {array.dtype}; expected real numbers")
    array = array.astype(np.float64)
    if not np.isfinite(array).all():
        place = tuple(int(i) for i in np.argwhere(~np.isfinite(array))[0])
        raise TaskError(f"{path.name}: {name} hold {array[place]} at {list(place)}; expected finite numbers")
    return array
