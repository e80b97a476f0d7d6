"""Examples of few-shot tasks: what a record of a file must hold, whatever the format."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

from ..errors import TaskError, nearest
from ..recipe import canonical_json

Text = str | tuple[int, ...]
"""What a model reads: text, or token ids."""
LONGEST = 1_000_000
"""Characters or token ids of an input or output."""


@dataclass(frozen=True)
class Example:
    """An input with the output that is right.

    options:  what else the output could have been, the right one among them; None: the file does not say
    task:     the name of its task; None: the file has one task
    """

    input: Text
    output: Text
    options: tuple[Text, ...] | None = None
    task: str | None = None


@dataclass(frozen=True)
class Examples:
    """All examples of a file in its order, and the digest of what they say, in whatever format."""

    examples: tuple[Example, ...]
    name: str

    @property
    def sha256(self) -> str:
        said = [astuple(example) for example in self.examples]
        return hashlib.sha256(canonical_json(said).encode()).hexdigest()

    @property
    def of_tokens(self) -> bool:
        return isinstance(self.examples[0].input, tuple)


def check_columns(where: str, names: Sequence[str], columns: tuple[str, str]) -> None:
    """Raise TaskError where there is no input or no output by these names."""
    for wanted in columns:
        if wanted not in names:
            raise TaskError(
                f"{where}: no column {wanted!r}; {nearest(wanted, names)}; name the columns with --columns INPUT,OUTPUT"
            )


def example_of(where: str, record: Any, columns: tuple[str, str]) -> Example:
    """The example that a record of a file means; TaskError, in words, for a record that means none."""
    if not isinstance(record, Mapping):
        raise TaskError(
            f"{where}: {json.dumps(record, default=str)!s:.60} is no example; expected {record_of(columns)}"
        )
    check_columns(where, list(record), columns)
    given, told = (_value(where, name, record[name]) for name in columns)
    if type(given) is not type(told):
        raise TaskError(f"{where}: the input is {kind_of(given)}, and the output is {kind_of(told)}; expected one kind")
    task = record.get("task")
    if not isinstance(task, str | None) or len((task or "").splitlines()) > 1:
        raise TaskError(f"{where}: task = {task!r:.60}; expected the name of a task, one line of text")
    return Example(given, told, _options(where, record.get("options"), told), task or None)


def _options(where: str, options: Any, told: Text) -> tuple[Text, ...] | None:
    if options is None or options == []:
        return None
    if not isinstance(options, list):
        raise TaskError(f"{where}: options = {options!r:.60}; expected a list of outputs")
    read = tuple(_value(where, "an option", option) for option in options)
    if len(set(read)) < len(read):
        twice = next(option for option in read if read.count(option) > 1)
        raise TaskError(f"{where}: the option {twice!r:.60} occurs twice; expected each once")
    if told not in read:
        listed = ", ".join(f"{option!r:.40}" for option in read[:8])
        raise TaskError(f"{where}: the output {told!r:.60} is none of its options, {listed}; write it as an option is")
    return read


def _value(where: str, name: str, value: Any) -> Text:
    if isinstance(value, list) and value and all(type(token) is int and token >= 0 for token in value):
        value = tuple(value)
    elif isinstance(value, int | float):
        raise TaskError(f"{where}: {name} is the number {value}; expected text (the class's name), or a list of tokens")
    elif value in ("", [], None) or (isinstance(value, str) and not value.strip()):
        raise TaskError(f"{where}: {name} is empty; expected text, or token ids; leave the example out")
    elif not isinstance(value, str):
        raise TaskError(f"{where}: {name} is {value!r:.60}; expected text, or a list of token ids from 0")
    if len(value) > LONGEST:
        raise TaskError(
            f"{where}: {name} has {len(value):,} {'tokens' if isinstance(value, tuple) else 'characters'}; expected at"
            f" most {LONGEST:,}; is there one example on each line?"
        )
    return value


def kind_of(value: Text) -> str:
    """In words."""
    return "text" if isinstance(value, str) else "token ids"


def record_of(columns: tuple[str, str]) -> str:
    """How a record looks."""
    return json.dumps(dict.fromkeys(columns, "…"), ensure_ascii=False)
