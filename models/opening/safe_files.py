"""Tensors from untrusted files: nothing executed, bounded memory, one-line errors.

A `.pt` is a pickle, hence a program. mesascope reads it with `torch.load(weights_only=True)` only, after a scan of its
opcodes, which does not run them. They may name only the constructors of plain tensors, which are fewer than torch
allows (torch allows a `bytearray` of a terabyte).
"""

from __future__ import annotations

import io
import pickletools
import re
import warnings
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ...data.errors import CheckpointRefused, not_a_file
from ...data.npz import open_zip
from .catalogue import read_json_header
from .file_kinds import PICKLES, refuse_converted_text, refuse_other_kinds

MAX_PICKLE = 4 * 2**20  # bytes: some 25,000 tensors
MAX_OPCODES = 1_000_000  # enough for as many tensors, and scanned quickly
ENTRIES = ("state_dict", "model_state_dict", "model")
"""The entries of a training checkpoint that may hold its weights."""
_CONSTRUCTORS = re.compile(
    r"collections OrderedDict"
    r"|torch (?:Float|Double|Half|BFloat16|Byte|Char|Short|Int|Long|Bool)Storage"
    r"|torch (?:Size|device|float(?:16|32|64)|bfloat16|u?int(?:8|16|32|64)|bool)"
    r"|torch\._utils (?:_rebuild_tensor|_rebuild_tensor_v2|_rebuild_parameter)"
    r"|torch\.nn\.parameter Parameter"
)
_NUMPY = re.compile(r"numpy(?:\.\w+)* \w+|_codecs encode")
"""What pickled NumPy numbers and arrays name; `_codecs encode` makes their bytes."""
_IMPORTS = {"GLOBAL", "STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4"}
_LEGACY_PICKLES = 5  # before torch 1.6: magic number, protocol, system, object, storage keys, then raw numbers
_SAVE_WEIGHTS = "torch.save({name: tensor for name, tensor in model.state_dict().items()}, FILE)"


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of a state dict, on the CPU, from a `.safetensors` or a file of `torch.save`."""
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    return _state_dict(path, _load_pickled(path))


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    names = [name for name in read_json_header(path) if name != "__metadata__"]
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointRefused(
            f"{path.name}: damaged safetensors ({_one_line(error)}); download or copy it again"
        ) from error


def _load_pickled(path: Path) -> Any:
    if not path.is_file():
        raise CheckpointRefused(not_a_file(path))
    try:
        with path.open("rb") as file:
            start = file.read(512)
            refuse_other_kinds(path, start)
            file.seek(0)
            if start.startswith(b"PK"):
                _check_archive(path, file)
                return _unpickled(file)
            if not start.startswith(b"\x80"):
                refuse_converted_text(path)
                what = "neither a zip archive nor a pickle" if start else "an empty file of 0 bytes"
                raise CheckpointRefused(f"{path.name}: {what}; expected a state dict written by torch.save")
            _refuse_programs(path, io.BytesIO(file.read(MAX_PICKLE)), _LEGACY_PICKLES)  # numbers follow the pickles
            file.seek(0)
            return _unpickled(io.BytesIO(file.read()))
    except CheckpointRefused:
        raise
    except Exception as error:  # zipfile, pickle and torch raise many kinds on damaged bytes
        refuse_converted_text(path)
        raise CheckpointRefused(
            f"{path.name}: cannot be read as weights ({_one_line(error)}); expected a state dict written by torch.save"
        ) from error


def _unpickled(file: io.BufferedReader | io.BytesIO) -> Any:
    """The content of a file that was scanned before. Old formats need a stream in memory: from a file, torch would
    unpack tar archives to the disk.
    """
    file.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # torch warns of files that are refused or harmless
        return torch.load(file, map_location="cpu", weights_only=True)


def _check_archive(path: Path, file: io.BufferedReader) -> None:
    """Check the zip archive's list of members, then scan its pickle."""
    with open_zip(file) as archive:
        members, size = archive.infolist(), path.stat().st_size
        if len({member.filename for member in members}) < len(members):
            raise CheckpointRefused(f"{path.name}: two members of the archive have the same name; expected each once")
        if offset := min((member.header_offset for member in members), default=0):
            refuse_converted_text(path)  # which moves everything but the first member
            # zipfile and torch may read different ones of two joined archives
            raise CheckpointRefused(
                f"{path.name}: the archive begins at byte {offset}; expected 0; it may be two files joined"
            )
        if packed := [member.filename for member in members if member.compress_type != zipfile.ZIP_STORED]:
            raise CheckpointRefused(
                f"{path.name}: member {packed[0]!r} is compressed; torch.save never compresses; save it again with"
                " torch.save"
            )
        if (claimed := sum(member.file_size for member in members)) > size:
            raise CheckpointRefused(
                f"{path.name}: its members claim {claimed} bytes in a file of {size} bytes; the file is damaged"
            )
        if any(member.filename.endswith("/constants.pkl") for member in members):
            raise CheckpointRefused(
                f"{path.name}: a TorchScript program; expected a state dict; load it with torch.jit.load, then"
                f" {_SAVE_WEIGHTS}"
            )
        pickles = [member for member in members if member.filename.endswith("data.pkl")]
        if len(pickles) != 1:
            raise CheckpointRefused(
                f"{path.name}: a zip archive with {len(pickles)} members data.pkl; expected 1, as torch.save writes it"
            )
        if pickles[0].file_size > MAX_PICKLE:
            raise CheckpointRefused(
                f"{path.name}: a pickle of {pickles[0].file_size} bytes; expected at most {MAX_PICKLE} for a state dict"
            )
        _refuse_programs(path, io.BytesIO(archive.read(pickles[0])), 1)


def _refuse_programs(path: Path, file: io.BytesIO, pickles: int) -> None:
    numbers = None
    try:
        for name in _named(path, (opcode for _ in range(pickles) for opcode in pickletools.genops(file))):
            if _NUMPY.fullmatch(name):
                numbers = numbers or name
            elif not _CONSTRUCTORS.fullmatch(name):
                raise CheckpointRefused(
                    f"{path.name}: a whole-object pickle (it names {_dotted(name)}), which runs code when opened;"
                    " expected a state dict; if you trust it, open it with its own program and save the weights alone:"
                    f" {_SAVE_WEIGHTS}; see {PICKLES}"
                )
    except ValueError:  # no file of torch.save: what it names says more
        if numbers is None:
            raise
    if numbers is not None:
        raise CheckpointRefused(
            f"{path.name}: holds NumPy numbers or arrays (it names {_dotted(numbers)}); expected a dictionary of"
            " tensors alone; if you trust it, open it with its own program, make tensors of its arrays and save these:"
            f" {_SAVE_WEIGHTS}; see {PICKLES}"
        )


def _dotted(name: str) -> str:
    return repr(".".join(name.split())[:80])


def _named(path: Path, opcodes: Iterable[tuple[pickletools.OpcodeInfo, Any, int | None]]) -> Iterator[str]:
    """The names that pickles import, read from their opcodes without running them."""
    strings, memo = ["?", "?"], list[Any]()
    pushed: Any = None
    for number, (opcode, argument, _) in enumerate(opcodes):
        if number == MAX_OPCODES:
            raise CheckpointRefused(
                f"{path.name}: a pickle of over {MAX_OPCODES} opcodes; expected fewer for a state dict"
            )
        if opcode.name in _IMPORTS:
            # STACK_GLOBAL takes its names from the stack; torch refuses it, so these serve the message alone
            yield str(argument) if opcode.name in {"GLOBAL", "INST"} else " ".join(strings[-2:])
        if opcode.name == "MEMOIZE":
            memo.append(pushed)
            continue
        recalled = opcode.name in {"BINGET", "LONG_BINGET"} and argument < len(memo)
        pushed = memo[argument] if recalled else argument
        if isinstance(pushed, str):
            strings = [strings[-1], pushed]


def _state_dict(path: Path, loaded: Any) -> dict[str, Tensor]:
    """The mapping from names to tensors, alone or as an entry of a training checkpoint."""
    if not isinstance(loaded, Mapping):
        raise CheckpointRefused(f"{path.name}: holds a {type(loaded).__name__}; expected a state dict")
    inner = [loaded[key] for key in ENTRIES if isinstance(loaded.get(key), Mapping)]
    found = inner[0] if inner else loaded
    tensors = {name: value for name, value in found.items() if isinstance(value, Tensor)}
    if not tensors:
        what = (
            "only the state of an optimiser"
            if {"state", "param_groups"} & set(loaded) or "optimizer" in loaded
            else None
        )
        keys = ", ".join(repr(key)[:40] for key in list(loaded)[:5])
        raise CheckpointRefused(f"{path.name}: holds {what or f'no tensors (its keys: {keys})'}; expected a state dict")
    for name, value in found.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise CheckpointRefused(
                f"{path.name}: {name!r:.80} holds a {type(value).__name__}; expected only tensors under string names"
            )
    _refuse_claims(path, tensors)
    return {name: tensor.detach() for name, tensor in tensors.items()}


def _refuse_claims(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Raise CheckpointRefused for tensors larger than their storage: with strides of 0, a few bytes claim terabytes."""
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.device.type != "cpu":
            raise CheckpointRefused(
                f"{path.name}: {name!r:.80} is {tensor.layout} on {tensor.device}; expected a dense tensor on the CPU"
            )
        claimed, there = tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes()
        if claimed > there:
            raise CheckpointRefused(
                f"{path.name}: {name!r:.80} claims {claimed} bytes but stores {there}; save tensor.contiguous()"
            )


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:160]
