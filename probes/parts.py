"""Parts of a measurement: what is finished of it, and need not be made again."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from typing import Any, TypeVar

import numpy as np
from torch import Tensor

Part = TypeVar("Part")


class Parts:
    """The finished parts of one measurement, by name. These are what the run put there ahead, and last as long as it
    does; those of `analyses/runs/parts.py` outlive an interruption.

    A part is plain data: None, truth values, numbers, texts, arrays, tensors, tuples, lists and mappings of these, a
    Recipe, a Measure, Examples, and dataclasses and named tuples that the probe names in `part_kinds`. It is the same,
    bit for bit, whether it was found or made.
    """

    def __init__(self) -> None:
        self._ahead: dict[str, Any] = {}

    def made(self, name: str, make: Callable[[], Part]) -> Part:
        """The part of this name, found or made now. Asked for once in a measurement."""
        if not self.holds(name):
            self.put(name, make())
        return self._ahead.pop(name)

    def put(self, name: str, part: Any) -> None:
        """A part that was made, to be asked for later."""
        self._ahead[name] = part = settled(part)
        self.keep(name, part)

    def holds(self, name: str) -> bool:
        """Whether a part is there."""
        return name in self._ahead

    def keep(self, name: str, part: Any) -> None:
        """Write a part that was made; nowhere, by default."""


def settled(part: Any) -> Any:
    """The same with every array as it lies in memory when it was read from a file: the last digits of a sum depend on
    that.
    """
    if isinstance(part, np.ndarray):
        return part if part.flags.c_contiguous else part.copy(order="C")
    if isinstance(part, Tensor):
        return part.detach().cpu().contiguous()
    if isinstance(part, Mapping):
        return {key: settled(value) for key, value in part.items()}
    if isinstance(part, tuple) and hasattr(part, "_fields"):
        return type(part)(*map(settled, part))
    if isinstance(part, tuple | list):
        return type(part)(map(settled, part))
    if is_dataclass(part) and not isinstance(part, type):
        return type(part)(**{field.name: settled(getattr(part, field.name)) for field in fields(part)})
    return part
