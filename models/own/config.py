"""Configurations from files: checks of keys and types, and of the parameters' names and shapes."""

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
    """A configuration from its settings. Raises CheckpointRefused for unknown keys, wrong types and missing keys."""
    types = get_type_hints(cls)
    for name, value in values.items():
        if name not in types:
            raise CheckpointRefused(f"config: unknown key {name!r}; {nearest(name, types)}")
        if not _fits(value, types[name]):
            raise CheckpointRefused(f"config: {name} = {reprlib.repr(value)}; expected {_expected(types[name])}")
    for field in fields(cls):  # pyright: ignore[reportArgumentType] - every configuration is a dataclass
        if field.default is MISSING and field.name not in values:
            raise CheckpointRefused(f"config: {field.name} is missing; expected {_expected(types[field.name])}")
    return cls(**{name: _as_declared(value, types[name]) for name, value in values.items()})


def check_shapes(parameters: Mapping[str, Tensor], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Raises CheckpointRefused unless the parameters have exactly these names and shapes."""
    if set(parameters) != set(shapes):
        missing, surplus = sorted(set(shapes) - set(parameters)), sorted(set(parameters) - set(shapes))
        raise CheckpointRefused(
            f"parameters do not match the configuration: missing {missing[:5]}, surplus {surplus[:5]}"
        )
    for name, shape in shapes.items():
        if (found := tuple(parameters[name].shape)) != shape:
            raise CheckpointRefused(f"{name} has shape {list(found)}; expected {list(shape)}")


def _fits(value: Any, kind: Any) -> bool:
    if get_origin(kind) is Literal:
        return isinstance(value, str) and value in get_args(kind)
    if alternatives := get_args(kind):
        return any(_fits(value, alternative) for alternative in alternatives)
    if kind is bool or isinstance(value, bool):
        return kind is bool and isinstance(value, bool)
    if kind is float:
        return isinstance(value, int | float) and abs(value) <= sys.float_info.max  # neither infinite nor NaN
    return isinstance(value, kind)


def _as_declared(value: Any, kind: Any) -> Any:
    """The value; an int becomes a float where a float is declared."""
    return float(value) if float in (kind, *get_args(kind)) and isinstance(value, int) else value


def _expected(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return " or ".join(map(repr, get_args(kind)))
    return " or ".join("null" if type_ is NoneType else type_.__name__ for type_ in get_args(kind) or (kind,))
