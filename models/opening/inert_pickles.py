"""Arrays from a pickle that is read as data: no class, function or method that it names is ever looked up or called.

A pickle is a list of opcodes for a machine with a stack. This machine has those that build numbers, strings, lists,
tuples and dictionaries. A name that the pickle imports is kept as a name. Calling one means something only for the
few by which NumPy and JAX write arrays, and that meaning stands here: a shape, a type, and bytes whose number has to
fit. Everything else is refused by its name.
"""

from __future__ import annotations

import io
import math
import pickletools
import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ...data.errors import CheckpointRefused, not_a_file
from .file_kinds import PICKLES, refuse_other_kinds

MAX_OPCODES = 1_000_000
_DIMENSIONS = 32
_LONGEST_KEY = 1_000
_NUMPY = r"numpy\._?core\."
_FROM_STATE = re.compile(rf"{_NUMPY}multiarray _reconstruct")
_FROM_BYTES = re.compile(rf"{_NUMPY}numeric _frombuffer")
_SCALAR = re.compile(rf"{_NUMPY}multiarray scalar")
_JAX = re.compile(r"jax\._src\.(?:array _reconstruct_array|device_array reconstruct_device_array)")
_NO_BYTES = re.compile("(?:__builtin__|builtins) bytes")
"""How protocols before 3 write bytes that are empty: a call without arguments."""
_DICTIONARIES = {"collections OrderedDict", "flax.core.frozen_dict FrozenDict"}
_ADMITTED = re.compile(
    rf"{_NUMPY}(?:multiarray (?:_reconstruct|scalar)|numeric _frombuffer)|numpy (?:ndarray|dtype)|ml_dtypes bfloat16"
    rf"|_codecs encode|{_NO_BYTES.pattern}|{_JAX.pattern}|{'|'.join(map(re.escape, sorted(_DICTIONARIES)))}"
)
"""Every name that a pickle may import."""
_TYPE = re.compile(r"[fiub][1-8]")


@dataclass(frozen=True)
class Name:
    """What a pickle imports, "module name". It is never looked up."""

    text: str

    @classmethod
    def of(cls, text: str) -> Name:
        """Raises for every name but the few that mean arrays and dictionaries."""
        if not _ADMITTED.fullmatch(text):
            raise _Refused(text)
        return cls(text)


class ElementType:
    """A NumPy dtype as a pickle describes it."""

    def __init__(self, code: Any) -> None:
        self.code = "bfloat16" if _is(code, "ml_dtypes bfloat16") else code
        self.order = "="

    def build(self, state: Any) -> None:
        """Take over the byte order. Structured types have a state of more."""
        _, order, *fields = state if isinstance(state, tuple) and len(state) >= 5 else ("", "", "")
        if any(part is not None for part in fields[:3]) or order not in ("<", ">", "=", "|"):
            raise ValueError("a dtype of several fields; expected plain numbers")
        self.order = order

    def numpy(self) -> np.dtype:
        """For bfloat16, whose bits NumPy itself cannot read, its width."""
        if self.code == "bfloat16":
            return np.dtype(f"{self.order}u2")
        if not isinstance(self.code, str) or not _TYPE.fullmatch(self.code):
            what = f"{self.code:.40}" if isinstance(self.code, str) else type(self.code).__name__
            raise ValueError(f"an array of dtype {what!r}; expected numbers")
        return np.dtype(self.order + self.code)


class PickledArray:
    """An array as a pickle describes it: shape, type and bytes. Before its state is there, it holds nothing."""

    def __init__(self) -> None:
        self.array: np.ndarray | None = None
        self.bfloat16 = False

    def build(self, state: Any) -> None:
        if not isinstance(state, tuple) or len(state) not in (4, 5):
            raise ValueError("an array with a state that NumPy does not write")
        shape, element, fortran, content = state[-4:]
        self.fill(shape, element, content, "F" if fortran else "C")

    def fill(self, shape: Any, element: Any, content: Any, order: Any) -> None:
        """Raises ValueError unless the bytes are exactly as many as shape and type need."""
        if isinstance(content, list):
            raise ValueError("an array of Python objects; expected numbers")
        if not isinstance(element, ElementType) or order not in ("C", "F"):
            raise ValueError("an array with a state that NumPy does not write")
        content = content.encode("latin-1") if isinstance(content, str) else content  # of Python 2
        sizes = (shape,) if type(shape) is int else shape
        if not isinstance(sizes, tuple) or len(sizes) > _DIMENSIONS or any(type(n) is not int or n < 0 for n in sizes):
            raise ValueError(f"an array with a shape of other things than up to {_DIMENSIONS} whole numbers")
        dtype = element.numpy()
        needed = math.prod(sizes) * dtype.itemsize
        if not isinstance(content, bytes | bytearray) or len(content) != needed:
            held = len(content) if isinstance(content, bytes | bytearray) else "no"
            raise ValueError(f"an array that claims {needed} bytes but stores {held}")
        read = np.frombuffer(content, dtype) if needed else np.zeros(0, dtype)
        self.array = read.astype(dtype.newbyteorder("="), copy=False).reshape(sizes, order=order)
        self.bfloat16 = element.code == "bfloat16"


def read_pickle(path: Path) -> Any:
    """What a pickle holds: dictionaries, lists, tuples, numbers, strings, and `PickledArray`s.

    Raises CheckpointRefused for a pickle that names anything else, is damaged, or claims more than it holds.
    """
    if not path.is_file():
        raise CheckpointRefused(not_a_file(path))
    content = path.read_bytes()
    refuse_other_kinds(path, content[:512])
    try:
        return _Machine().run(content)
    except _Refused as error:
        name = ".".join(error.name.split())
        raise CheckpointRefused(
            f"{path.name}: names {name!r:.80}, which would run code; expected a pickle of arrays in dictionaries, lists"
            f" and tuples; if you trust it, open it with its own program and save its arrays; see {PICKLES}"
        ) from error
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, OverflowError, UnicodeError) as error:
        cause = " ".join(f"{error}".split())[:160] if isinstance(error, ValueError) else "damaged, or no pickle at all"
        raise CheckpointRefused(f"{path.name}: not a readable pickle of arrays: {cause}") from error


class _Refused(Exception):
    """A pickle imports a name that means no array, or uses one for something else."""

    def __init__(self, name: str) -> None:
        super().__init__(name)
        self.name = name


class _Machine:
    """The stack, the places of its marks, and the memo."""

    def __init__(self) -> None:
        self.stack: list[Any] = []
        self.marks: list[int] = []
        self.memo: dict[int, Any] = {}

    def run(self, content: bytes) -> Any:
        for number, (opcode, argument, _) in enumerate(pickletools.genops(io.BytesIO(content))):
            if number == MAX_OPCODES:
                raise ValueError(f"over {MAX_OPCODES} opcodes; expected fewer for arrays")
            if opcode.name == "STOP":
                return self.stack.pop()
            self.step(opcode.name, argument)
        raise ValueError("it has no end")

    def step(self, name: str, argument: Any) -> None:
        if name in _VALUES:
            self.stack.append(argument)
        elif name in _CONSTANTS:
            self.stack.append(_CONSTANTS[name]())
        elif name in ("PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"):
            self.memo[len(self.memo) if name == "MEMOIZE" else argument] = self.stack[-1]
        elif name in ("GET", "BINGET", "LONG_BINGET"):
            self.stack.append(self.memo[argument])
        elif name == "GLOBAL":
            self.stack.append(Name.of(argument))
        elif name in _STEPS:
            _STEPS[name](self)
        else:
            raise ValueError(f"the opcode {name}; expected none in a pickle of arrays")

    def popped(self, n: int) -> list[Any]:
        """The last n values, all behind the last mark."""
        place = len(self.stack) - n
        if place < (self.marks[-1] if self.marks else 0):
            raise ValueError("too few values on the stack")
        values, self.stack[place:] = self.stack[place:], []
        return values

    def since_mark(self) -> list[Any]:
        place = self.marks.pop()
        values, self.stack[place:] = self.stack[place:], []
        return values

    def pop(self) -> None:
        """The last value, or the last mark if it comes after."""
        if self.marks and self.marks[-1] == len(self.stack):
            self.marks.pop()
        else:
            self.stack.pop()

    def set_items(self, pairs: list[Any]) -> None:
        held = self.stack[-1]
        if not isinstance(held, dict) or len(pairs) % 2:
            raise ValueError("an entry of what is no dictionary")
        _enter(held, zip(pairs[::2], pairs[1::2], strict=True))

    def extend(self, values: list[Any]) -> None:
        if not isinstance(self.stack[-1], list):
            raise ValueError("an item of what is no list")
        self.stack[-1].extend(values)

    def name_from_stack(self) -> None:
        module, name = self.popped(2)
        if not isinstance(module, str) or not isinstance(name, str):
            raise ValueError("a name that is no string")
        self.stack.append(Name.of(f"{module} {name}"))

    def call(self) -> None:
        function, arguments = self.popped(2)
        if not isinstance(function, Name) or not isinstance(arguments, tuple):
            raise ValueError("a call of what is no name")
        self.stack.append(_made(function, arguments))

    def build(self) -> None:
        (state,) = self.popped(1)
        held = self.stack[-1]
        if not isinstance(held, ElementType | PickledArray):
            raise ValueError("a state of what is no array")
        held.build(state)


def _made(function: Name, arguments: tuple[Any, ...]) -> Any:
    """What NumPy and JAX mean by a call, without calling anything."""
    name = function.text
    if name in _DICTIONARIES:
        return _dictionary(*arguments)
    if name == "numpy dtype":
        return ElementType(arguments[0])
    if name == "_codecs encode":
        text, encoding = arguments
        if not isinstance(text, str) or encoding not in ("latin1", "latin-1"):
            raise ValueError("bytes in an encoding that pickles do not use")
        return text.encode("latin-1")
    if _NO_BYTES.fullmatch(name):
        if arguments:
            raise _Refused(name)
        return b""
    array = PickledArray()
    if _FROM_STATE.fullmatch(name):
        if not _is(arguments[0], "numpy ndarray"):
            raise _Refused(name)
    elif _FROM_BYTES.fullmatch(name):
        content, element, shape, order = arguments
        array.fill(shape, element, content, order)
    elif _SCALAR.fullmatch(name):
        element, content = arguments
        array.fill((), element, content, "C")
    elif _JAX.fullmatch(name):
        inner, of_inner, state, _ = arguments
        if not isinstance(inner, Name) or not _FROM_STATE.fullmatch(inner.text):
            raise _Refused(name)
        array = _made(inner, of_inner)
        array.build(state)
    else:
        raise _Refused(name)
    return array


def _is(value: Any, name: str) -> bool:
    return isinstance(value, Name) and value.text == name


def _dictionary(pairs: Any = ()) -> dict[Any, Any]:
    held: dict[Any, Any] = {}
    _enter(held, pairs.items() if isinstance(pairs, dict) else pairs)
    return held


def _enter(held: dict[Any, Any], pairs: Any) -> None:
    """Only strings and numbers are keys: to hash anything deeper could take the whole stack of the process."""
    for key, value in pairs:
        short = len(key) <= _LONGEST_KEY if isinstance(key, str) else isinstance(key, int) and key.bit_length() < 64
        if not short:
            raise ValueError(
                f"a {type(key).__name__} as a key; expected names of up to {_LONGEST_KEY} letters or numbers"
            )
        held[key] = value


_VALUES = {
    *("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT", "UNICODE", "BINUNICODE"),
    *("SHORT_BINUNICODE", "BINUNICODE8", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
    *("STRING", "BINSTRING", "SHORT_BINSTRING"),
}
_CONSTANTS: dict[str, Callable[[], Any]] = {
    "NONE": lambda: None,
    "NEWTRUE": lambda: True,
    "NEWFALSE": lambda: False,
    "EMPTY_DICT": dict,
    "EMPTY_LIST": list,
    "EMPTY_TUPLE": tuple,
}
_STEPS: dict[str, Callable[[_Machine], Any]] = {
    "PROTO": lambda machine: None,
    "FRAME": lambda machine: None,
    "MARK": lambda machine: machine.marks.append(len(machine.stack)),
    "POP": _Machine.pop,
    "POP_MARK": _Machine.since_mark,
    "DUP": lambda machine: machine.stack.append(machine.stack[-1]),
    "TUPLE": lambda machine: machine.stack.append(tuple(machine.since_mark())),
    "LIST": lambda machine: machine.stack.append(machine.since_mark()),
    **{f"TUPLE{n}": lambda machine, n=n: machine.stack.append(tuple(machine.popped(n))) for n in (1, 2, 3)},
    "APPEND": lambda machine: machine.extend(machine.popped(1)),
    "APPENDS": lambda machine: machine.extend(machine.since_mark()),
    "DICT": lambda machine: _dict_since_mark(machine),
    "SETITEM": lambda machine: machine.set_items(machine.popped(2)),
    "SETITEMS": lambda machine: machine.set_items(machine.since_mark()),
    "STACK_GLOBAL": _Machine.name_from_stack,
    "REDUCE": _Machine.call,
    "NEWOBJ": _Machine.call,
    "BUILD": _Machine.build,
}


def _dict_since_mark(machine: _Machine) -> None:
    pairs = machine.since_mark()
    machine.stack.append({})
    machine.set_items(pairs)
