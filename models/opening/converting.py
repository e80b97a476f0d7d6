"""Arrays of pickles and `.npz` files as a `.safetensors`: `mesascope convert`. Nothing in a file is executed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save

from ...data.errors import CheckpointRefused, UsageError
from ...data.npz import read_npz
from ...data.writing import write_atomically
from .file_kinds import CONVERTED, MESSAGE_PACK
from .inert_pickles import PickledArray, read_pickle

_MAX_DEPTH = 64
_MAX_NAMES = 100_000
_LONGEST_NAME = 2_000
_MAX_COPIES = 4
"""How often the bytes of a file may be written: shared weights stand in it once."""
_DTYPES = {np.dtype(name) for name in ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")}


@dataclass(frozen=True)
class Converted:
    """What was written.

    tensors:   how many
    left_out:  names of what is no array, with its value or its type
    """

    path: Path
    tensors: int
    left_out: tuple[str, ...] = ()


def convert(source: str | Path, target: str | Path, separator: str = "/", force: bool = False) -> Converted:
    """Write the arrays of a pickle or an `.npz` as a `.safetensors`. Names of nested dictionaries and places in lists
    are joined by `separator`.

    force:  write over a file that is there

    Raises CheckpointRefused for a file that holds anything but arrays in dictionaries, lists and tuples, and UsageError
    for endings that cannot be converted.
    """
    source, target = Path(source), Path(target)
    if target.suffix != ".safetensors":
        raise UsageError(f"{target}: is to be written; expected a name that ends in .safetensors")
    if target.exists() and not force:
        raise UsageError(f"{target}: exists already; give another name, or --force")
    arrays, left_out = _arrays(source, separator)
    if not arrays:
        held = f" (left out: {', '.join(left_out[:5])})" if left_out else ""
        raise CheckpointRefused(f"{source.name}: holds no arrays{held}; expected the weights of a model")
    most = _MAX_COPIES * source.stat().st_size
    if source.suffix != ".npz" and (total := sum(tensor.nbytes for tensor in arrays.values())) > most:
        raise CheckpointRefused(
            f"{source.name}: its arrays would take {total} bytes, many of them several times; expected at most {most}"
        )
    try:
        write_atomically(target, save(arrays))
    except OSError as error:
        raise UsageError(f"{target}: cannot be written ({error.strerror or error})") from error
    return Converted(target, len(arrays), tuple(left_out))


def _arrays(source: Path, separator: str) -> tuple[dict[str, torch.Tensor], list[str]]:
    """Every tensor by name, and what is left out."""
    if source.suffix in MESSAGE_PACK:
        raise CheckpointRefused(
            f"{source.name}: {MESSAGE_PACK[source.suffix]}; where Flax is installed, write its arrays with"
            " numpy.savez(FILE, **flax.traverse_util.flatten_dict(flax.serialization.msgpack_restore(BYTES), sep='/'))"
        )
    if source.suffix == ".npz":
        return {name: _tensor(source, name, array) for name, array in read_npz(source, CheckpointRefused).items()}, []
    if source.suffix not in CONVERTED:
        raise UsageError(
            f"{source.name}: is no pickle and no .npz; expected {', '.join((*CONVERTED, '.npz'))}; state dicts of torch"
            " (.pt, .pth, .bin) open as they are, with --layout"
        )
    arrays: dict[str, torch.Tensor] = {}
    left_out: list[str] = []
    for name, leaf in _leaves(source, read_pickle(source), separator):
        if not isinstance(leaf, PickledArray) or leaf.array is None:
            left_out.append(_described(name, leaf))
            continue
        if name in arrays:
            raise CheckpointRefused(f"{source.name}: two arrays are named {name!r:.80}; give another separator")
        tensor = _tensor(source, name, leaf.array)
        arrays[name] = tensor.view(torch.bfloat16) if leaf.bfloat16 else tensor
    return arrays, left_out


def _leaves(source: Path, root: Any, separator: str) -> Iterator[tuple[str, Any]]:
    """Everything that is not a dictionary, a list or a tuple, under its joined name."""
    waiting, seen = [("", root, 0)], 0
    while waiting:
        name, held, depth = waiting.pop()
        if not isinstance(held, dict | list | tuple):
            yield name or "array", held
            continue
        parts = held.items() if isinstance(held, Mapping) else enumerate(held)
        below = [(f"{name}{separator}{key}" if name else f"{key}", part, depth + 1) for key, part in parts]
        seen += len(below)
        if depth >= _MAX_DEPTH or seen > _MAX_NAMES or len(name) > _LONGEST_NAME:
            raise CheckpointRefused(
                f"{source.name}: over {_MAX_NAMES} parts, {_MAX_DEPTH} inside each other, or a name of over"
                f" {_LONGEST_NAME} letters; expected the weights of a model"
            )
        waiting.extend(reversed(below))


def _described(name: str, leaf: Any) -> str:
    """A number with its value, and anything else with its type."""
    plain = leaf is None or isinstance(leaf, bool | float) or (isinstance(leaf, int) and leaf.bit_length() < 64)
    return f"{name:.80} = {leaf!r:.40}" if plain else f"{name:.80} ({type(leaf).__name__})"


def _tensor(source: Path, name: str, array: np.ndarray) -> torch.Tensor:
    if array.dtype not in _DTYPES:
        raise CheckpointRefused(f"{source.name}: {name!r:.80} has dtype {array.dtype}; expected numbers")
    return torch.from_numpy(np.ascontiguousarray(array).reshape(array.shape).copy())
