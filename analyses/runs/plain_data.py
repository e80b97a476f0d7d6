"""Plain data as a file of arrays, and back, bit for bit: numbers, texts, arrays, and dataclasses that are named.

An `.npz` without Python objects: its arrays by number, and as `tree` a text of JSON that says what is where. Reading
one runs nothing of it. Its checksums show a damaged byte.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from ...data.errors import TaskError
from ...data.npz import read_npz
from ...data.recipe import Recipe
from ...probes.findings import Examples
from ...probes.measure import Measure

KINDS = (Measure, Examples, Recipe)
"""Dataclasses that every file may hold."""
_TREE = "tree"
Kinds = Sequence[type]


def write_plain(value: Any, file: BinaryIO, kinds: Kinds = ()) -> None:
    """Write a value. TypeError for what is no plain data.

    kinds:  dataclasses and named tuples that it may hold, beside `KINDS`
    """
    arrays: list[np.ndarray] = []
    tree = json.dumps(_encoded(value, arrays, {*KINDS, *kinds}), allow_nan=False).encode()
    numbered = {str(number): array for number, array in enumerate(arrays)}
    np.savez(file, allow_pickle=False, **{_TREE: np.frombuffer(tree, dtype=np.uint8)}, **numbered)


def read_plain(path: Path, kinds: Kinds = ()) -> Any:
    """The value in a file. TaskError for a file that is damaged, or holds something else."""
    arrays = read_npz(path, TaskError)
    try:
        tree = json.loads(arrays[_TREE].tobytes())
        return _decoded(tree, arrays, {kind.__name__: kind for kind in (*KINDS, *kinds)})
    except Exception as error:  # constructors raise many kinds for what they never were given
        raise TaskError(f"{path.name}: not plain data as mesascope writes it ({error})") from error


def _encoded(value: Any, arrays: list[np.ndarray], kinds: set[type]) -> Any:
    """The types of JSON. What JSON does not have is an object of one field, which names it."""

    def inner(values: Any) -> list[Any]:
        return [_encoded(one, arrays, kinds) for one in values]

    if value is None or type(value) in (bool, int, str):
        return value
    if type(value) is float:
        return value if np.isfinite(value) else {"float": str(value)}
    if isinstance(value, np.ndarray | np.generic | Tensor):
        arrays.append(array := np.asarray(value))
        if array.dtype.hasobject:
            raise TypeError(f"an array of Python objects, shaped {list(array.shape)}; expected numbers or texts")
        kind = "tensor" if isinstance(value, Tensor) else "array" if isinstance(value, np.ndarray) else "scalar"
        return {kind: str(len(arrays) - 1)}
    if isinstance(value, Mapping):
        return {"mapping": [inner(pair) for pair in value.items()]}
    if type(value) in kinds:
        names = [field.name for field in fields(value)] if is_dataclass(value) else value._fields
        held = inner(getattr(value, name) for name in names)
        return {"kind": type(value).__name__, "fields": dict(zip(names, held, strict=True))}
    if type(value) in (list, tuple):
        return {type(value).__name__: inner(value)}
    raise TypeError(f"a {type(value).__name__}; expected plain data, or a dataclass that `part_kinds` names")


def _decoded(tree: Any, arrays: Mapping[str, np.ndarray], kinds: Mapping[str, type]) -> Any:
    if not isinstance(tree, dict):
        return tree

    def inner(trees: Any) -> list[Any]:
        return [_decoded(one, arrays, kinds) for one in trees]

    readers: dict[str, Callable[[Any], Any]] = {
        "float": float,
        "array": lambda name: arrays[name],
        "scalar": lambda name: arrays[name][()],
        "tensor": lambda name: torch.from_numpy(arrays[name]),
        "mapping": lambda pairs: dict(map(inner, pairs)),
        "list": inner,
        "tuple": lambda trees: tuple(inner(trees)),
        "kind": lambda name: kinds[name](**dict(zip(tree["fields"], inner(tree["fields"].values()), strict=True))),
    }
    what = next(iter(tree))
    return readers[what](tree[what])
