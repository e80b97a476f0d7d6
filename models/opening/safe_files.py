"""Tensors out of files that somebody else wrote: nothing executed, bounded memory, every failure one line.

A `.pt` is a pickle, hence a program. It is read through `torch.load(weights_only=True)` and never otherwise, and only
after its opcodes were looked through without running them: they may name the few constructors that plain tensors need,
fewer than torch itself allows (a `bytearray` of a terabyte is on torch's list).
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

from ...data.errors import CheckpointRefused
from ...data.npz import open_zip
from .catalogue import read_json_header
from .file_kinds import refuse_converted_text, refuse_other_kinds

PICKLED = {".pt", ".pth", ".bin", ".ckpt"}
MAX_PICKLE = 4 * 2**20  # bytes: some 25,000 tensors
MAX_OPCODES = 1_000_000  # as many tensors; and so quickly looked through that an endless pickle is no bomb
ENTRIES = ("state_dict", "model_state_dict", "model")
"""Where a training checkpoint keeps its weights, beside an optimiser and whatever else."""
_CONSTRUCTORS = re.compile(
    r"collections OrderedDict"
    r"|torch (?:Float|Double|Half|BFloat16|Byte|Char|Short|Int|Long|Bool)Storage"
    r"|torch (?:Size|device|float(?:16|32|64)|bfloat16|u?int(?:8|16|32|64)|bool)"
    r"|torch\._utils (?:_rebuild_tensor|_rebuild_tensor_v2|_rebuild_parameter)"
    r"|torch\.nn\.parameter Parameter"
)
_IMPORTS = {"GLOBAL", "STACK_GLOBAL", "INST", "EXT1", "EXT2", "EXT4"}
_LEGACY_PICKLES = 5  # before torch 1.6: magic number, protocol, system, object, storage keys, then raw numbers
_PLAINLY = "torch.save({name: tensor for name, tensor in model.state_dict().items()}, FILE)"


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Every tensor of a state dict, on the CPU, from `.safetensors` or what `torch.save` wrote."""
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    return _state_dict(path, _load_pickled(path))


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    names = [name for name in read_json_header(path) if name != "__metadata__"]
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            return {name: file.get_tensor(name) for name in names}
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointRefused(f"{path.name}: damaged safetensors ({_one_line(error)})") from error


def _load_pickled(path: Path) -> Any:
    if not path.is_file():
        raise CheckpointRefused(f"{path}: no such file")
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
                what = "neither a zip archive nor a pickle, so not what torch.save writes" if start else "an empty file"
                raise CheckpointRefused(f"{path.name}: {what}")
            _refuse_programs(path, io.BytesIO(file.read(MAX_PICKLE)), _LEGACY_PICKLES)  # numbers follow the pickles
            file.seek(0)
            return _unpickled(io.BytesIO(file.read()))
    except CheckpointRefused:
        raise
    except Exception as error:  # zipfile, pickle and torch raise many kinds on damaged bytes
        refuse_converted_text(path)
        raise CheckpointRefused(f"{path.name}: cannot be read as weights ({_one_line(error)})") from error


def _unpickled(file: io.BufferedReader | io.BytesIO) -> Any:
    """What torch makes of a file looked through before. Of an old format it must be given a stream in memory: from a
    file it would unpack tar archives to the disk.
    """
    file.seek(0)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what torch warns about is refused or harmless
        return torch.load(file, map_location="cpu", weights_only=True)


def _check_archive(path: Path, file: io.BufferedReader) -> None:
    """What the zip archive claims, before any of it is read; then what its pickle names."""
    with open_zip(file) as archive:
        members, size = archive.infolist(), path.stat().st_size
        if len({member.filename for member in members}) < len(members):
            raise CheckpointRefused(f"{path.name}: two members of one name")
        if min((member.header_offset for member in members), default=0) != 0:
            refuse_converted_text(path)  # which moves everything but the first member
            # readers differ in which of two archives they see, and torch's is not the one that looks through it here
            raise CheckpointRefused(f"{path.name}: an archive behind something else; torch.save begins with its first")
        if packed := [member.filename for member in members if member.compress_type != zipfile.ZIP_STORED]:
            raise CheckpointRefused(f"{path.name}: compressed member {packed[0]!r}; torch.save never compresses")
        if (claimed := sum(member.file_size for member in members)) > size:
            raise CheckpointRefused(f"{path.name}: claims {claimed} bytes in a file of {size}")
        if any(member.filename.endswith("/constants.pkl") for member in members):
            raise CheckpointRefused(f"{path.name}: a TorchScript program, not a state dict; save {_PLAINLY}")
        pickles = [member for member in members if member.filename.endswith("data.pkl")]
        if len(pickles) != 1:
            raise CheckpointRefused(f"{path.name}: a zip archive, but not one that torch.save wrote")
        if pickles[0].file_size > MAX_PICKLE:
            raise CheckpointRefused(f"{path.name}: a pickle of {pickles[0].file_size} bytes, too many for names alone")
        _refuse_programs(path, io.BytesIO(archive.read(pickles[0])), 1)


def _refuse_programs(path: Path, file: io.BytesIO, pickles: int) -> None:
    for name in _named(path, (opcode for _ in range(pickles) for opcode in pickletools.genops(file))):
        if not _CONSTRUCTORS.fullmatch(name):
            named = ".".join(name.split())[:80]
            raise CheckpointRefused(
                f"{path.name}: a whole-object pickle (it names {named!r}), which would run code when opened; where you"
                f" trust it, open it with its own program and save the weights alone: {_PLAINLY}"
            )


def _named(path: Path, opcodes: Iterable[tuple[pickletools.OpcodeInfo, Any, int | None]]) -> Iterator[str]:
    """What pickles import, read off their opcodes, none of which is run."""
    strings = ["?", "?"]
    for number, (opcode, argument, _) in enumerate(opcodes):
        if number == MAX_OPCODES:
            raise CheckpointRefused(f"{path.name}: a pickle of over {MAX_OPCODES} opcodes, too many for names alone")
        if opcode.name in _IMPORTS:
            # STACK_GLOBAL takes its names from the stack; torch refuses it, so these serve the message alone
            yield str(argument) if opcode.name in {"GLOBAL", "INST"} else " ".join(strings[-2:])
        elif isinstance(argument, str):
            strings = [strings[-1], argument]


def _state_dict(path: Path, loaded: Any) -> dict[str, Tensor]:
    """The mapping from names to tensors, alone or as an entry of a training checkpoint."""
    if not isinstance(loaded, Mapping):
        raise CheckpointRefused(f"{path.name}: holds a {type(loaded).__name__}, expected a state dict")
    inner = [loaded[key] for key in ENTRIES if isinstance(loaded.get(key), Mapping)]
    found = inner[0] if inner else loaded
    tensors = {name: value for name, value in found.items() if isinstance(value, Tensor)}
    if not tensors:
        what = "an optimiser's state only" if {"state", "param_groups"} & set(loaded) or "optimizer" in loaded else None
        keys = ", ".join(repr(key)[:40] for key in list(loaded)[:5])
        raise CheckpointRefused(f"{path.name}: holds {what or f'no tensors (its keys: {keys})'}, expected a state dict")
    for name, value in found.items():
        if not isinstance(name, str) or not isinstance(value, Tensor):
            raise CheckpointRefused(
                f"{path.name}: {name!r:.80} is a {type(value).__name__}, expected named tensors only"
            )
    _refuse_claims(path, tensors)
    return {name: tensor.detach() for name, tensor in tensors.items()}


def _refuse_claims(path: Path, tensors: Mapping[str, Tensor]) -> None:
    """Strides of 0 let a few bytes claim terabytes."""
    for name, tensor in tensors.items():
        if tensor.layout != torch.strided or tensor.device.type != "cpu":
            raise CheckpointRefused(f"{path.name}: {name!r:.80} is {tensor.layout} on {tensor.device}, expected dense")
        claimed, there = tensor.numel() * tensor.element_size(), tensor.untyped_storage().nbytes()
        if claimed > there:
            raise CheckpointRefused(f"{path.name}: {name!r:.80} claims {claimed} bytes and stores {there}")


def _one_line(error: BaseException) -> str:
    return " ".join(f"{type(error).__name__}: {error}".split())[:160]
