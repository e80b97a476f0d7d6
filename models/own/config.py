"""Configurations from files: every key and type checked, every tensor present in the shape that it must have."""

from __future__ import annotations

import reprlib
import sys
from collections.abc import Mapping
from dataclasses import MISSING, fields
from types import NoneType
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from torch import Tensor

from ...data.errors import CheckpointRefused, nearest

Config = TypeVar("Config")


def read_config(cls: type[Config], values: Mapping[str, Any]) -> Config:
    """A dataclass of settings. An attribute that is not understood is an error that names it."""
    kinds = get_type_hints(cls)
    for name, value in values.items():
        if name not in kinds:
            raise CheckpointRefused(f"config: unknown key {name!r}; {nearest(name, kinds)}")
        if not _fits(value, kinds[name]):
            raise CheckpointRefused(f"config: {name} = {reprlib.repr(value)}, expected {_expected(kinds[name])}")
    for field in fields(cls):  # pyright: ignore[reportArgumentType] - every configuration is a dataclass
        if field.default is MISSING and field.name not in values:
            raise CheckpointRefused(f"config: {field.name} is missing")
    return cls(**{name: _as_declared(value, kinds[name]) for name, value in values.items()})


def check_shapes(parameters: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Exactly the tensors that a configuration asks for, each in its shape."""
    if set(parameters) != set(shapes):
        missing, surplus = sorted(set(shapes) - set(parameters)), sorted(set(parameters) - set(shapes))
        raise CheckpointRefused(
            f"parameters do not match the configuration: missing {missing[:5]}, surplus {surplus[:5]}"
        )
    for name, shape in shapes.items():
        if (found := tuple(parameters[name].shape)) != shape:
            raise CheckpointRefused(f"{name} has shape {list(found)}, expected {list(shape)}")


def _fits(value: Any, kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return isinstance(value, str) and value in get_args(kind)
    if kinds := get_args(kind):
        return any(_fits(value, one) for one in kinds)
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    if kind is float:
        return isinstance(value, int | float) and abs(value) <= sys.float_info.max  # neither infinite nor NaN
    return isinstance(value, kind)


def _as_declared(value: Any, kind: Any) -> Any:
    """A whole number for a float is one."""
    return float(value) if float in (kind, *get_args(kind)) and isinstance(value, int) else value


def _expected(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(map(repr, get_args(kind)))
    return " or ".join("null" if one is NoneType else one.__name__ for one in get_args(kind) or (kind,))
