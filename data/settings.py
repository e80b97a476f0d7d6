"""Typed settings: one dialect for the command line, configuration files, saved reports and Python.

A group of settings is a frozen dataclass. Annotations are types and limits at once, as in

    repeats: Annotated[int, Ge(2)] = 2
    ablate: Literal["auto", "all"] = "auto"
    periods: tuple[int, ...] | None = None

Values are never converted silently, with two exceptions: a whole number for a float is a float, and a list is a tuple.
NaN and infinity are no numbers here. pydantic validates; it is imported at the first value, not before.
"""

from __future__ import annotations

import reprlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import MISSING, fields
from functools import cache
from types import NoneType, UnionType
from typing import TYPE_CHECKING, Annotated, Any, Literal, TypeVar, Union, get_args, get_origin, get_type_hints

from annotated_types import Ge, Gt, Le, Lt

from .errors import MesascopeError, UsageError, nearest
from .setting_text import guess, readings, written

if TYPE_CHECKING:
    from pydantic import TypeAdapter

Group = TypeVar("Group")
_NOUNS = {int: ("a whole number", "whole numbers"), float: ("a number", "numbers"), str: ("text", "texts")}
_LIMITS = {Ge: "of at least", Gt: "above", Le: "of at most", Lt: "below"}


def read_settings(
    group: type[Group],
    values: Mapping[str, Any],
    where: str = "",
    text: bool = False,
    refused: type[MesascopeError] = UsageError,
) -> Group:
    """A group of settings from values by name.

    where:    begins every message, e.g. "induction-heads: "
    text:     strings among the values come from the command line: "20,30" may be a list, and "none" is no text
    refused:  raised, in one line, for a name that is not known, a value of another type and a setting that is missing
    """
    types = _types(group)
    for name in values:
        if name not in types:
            raise refused(f"{where}{name!r:.80} is not known; {nearest(name, types)}")
    for field in fields(group):  # pyright: ignore[reportArgumentType] - every group is a dataclass
        if field.default is MISSING and field.default_factory is MISSING and field.name not in values:
            raise refused(f"{where}{field.name} is missing; expected {expected(types[field.name])}")
    return group(**{name: _valid(group, name, value, where, text, refused) for name, value in values.items()})


def check_settings(group: Any, where: str = "", refused: type[MesascopeError] = UsageError) -> None:
    """Check the settings of an instance made in Python, and put each into its declared type; for `__post_init__`.

    Raises `refused` as `read_settings` does.
    """
    for name in _types(type(group)):
        object.__setattr__(group, name, _valid(type(group), name, getattr(group, name), where, False, refused))


def expected(kind: Any) -> str:
    """The values of a type in words: "a whole number of at least 2 or none"."""
    return _joined(_wordings(kind))


def setting_text(group: type, name: str, value: Any) -> str:
    """A setting's value as text that `read_settings` reads back as the same value."""
    if isinstance(value, str) and _valid(group, name, value, "", True, UsageError) == value:
        return value
    return written(value)


@cache
def _types(group: type) -> dict[str, Any]:
    """Each setting's annotation, limits included."""
    hints = get_type_hints(group, include_extras=True)
    return {field.name: hints[field.name] for field in fields(group)}


@cache
def _validator(group: type, name: str) -> TypeAdapter[Any]:
    from pydantic import ConfigDict, TypeAdapter

    config = ConfigDict(strict=True, allow_inf_nan=False, arbitrary_types_allowed=True)
    return TypeAdapter(_types(group)[name], config=config)


def _valid(group: type, name: str, value: Any, where: str, text: bool, refused: type[MesascopeError]) -> Any:
    from pydantic import ValidationError

    for reading in readings(value) if text and isinstance(value, str) else (_tuples(value),):
        try:
            return _validator(group, name).validate_python(reading)
        except ValidationError:
            continue
    seen = guess(value) if text and isinstance(value, str) else value
    kind = _types(group)[name]
    raise refused(f"{where}{name} = {_shown(seen)}; expected {expected(kind)}{_suggestion(seen, kind)}")


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value


def _shown(value: Any) -> str:
    return reprlib.repr(list(value) if isinstance(value, tuple) else value)


def _suggestion(seen: Any, kind: Any) -> str:
    """`; did you mean …?` for a word that is close to one that is allowed."""
    found = nearest(seen, _choices(kind)) if isinstance(seen, str) else ""
    return f"; {found}" if found.startswith("did you mean") else ""


def _choices(kind: Any) -> Iterator[str]:
    """The words that are allowed, wherever they stand within a type."""
    for part in get_args(kind):
        if get_origin(kind) is Literal:
            yield str(part)
        else:
            yield from _choices(part)


def _wordings(kind: Any, several: bool = False) -> Iterator[str]:
    """Each alternative of a type in words."""
    origin, parts = get_origin(kind), get_args(kind)
    if origin in (Union, UnionType):
        for part in parts:
            yield from _wordings(part, several)
    elif origin is Literal:
        yield from map(str, parts)
    elif origin is Annotated:
        limits = _limited(parts[1:])
        yield from (f"{words}{limits}" for words in _wordings(parts[0], several))
    elif origin is tuple:
        yield f"{'lists' if several else 'a list'} of {_joined(_wordings(parts[0], several=True))}"
    elif kind is NoneType:
        yield "none"
    elif kind is bool:
        yield "true or false"
    elif kind in _NOUNS:
        yield _NOUNS[kind][several]
    else:
        yield "values by name" if isinstance(origin, type) and issubclass(origin, Mapping) else str(kind)


def _limited(limits: Iterable[Any]) -> str:
    """Limits in words, with a blank before them."""
    bounds = {
        kind: getattr(limit, kind.__name__.lower()) for limit in limits for kind in _LIMITS if type(limit) is kind
    }
    if {Ge, Le} <= bounds.keys():
        return f" from {bounds[Ge]:g} to {bounds[Le]:g}"
    return "".join(f" {_LIMITS[kind]} {bound:g}" for kind, bound in bounds.items())


def _joined(words: Iterable[str]) -> str:
    *first, last = words
    return f"{', '.join(first)} or {last}" if first else last
