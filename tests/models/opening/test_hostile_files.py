"""Pickles that would run code, in every container that is read: none of them does."""

from __future__ import annotations

import os
import pickle
import struct
import subprocess
import sys
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch


class Runs:
    """Unpickled, it calls a function with arguments."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.call


def global_opcode(module: str, name: str, argument: str, protocol: int) -> bytes:
    """A call written by hand, since not everything can be pickled that can be named in a pickle."""
    text = argument.encode()
    strings = b"X" + struct.pack("<I", len(text)) + text
    if protocol == 2:
        return b"\x80\x02c" + f"{module}\n{name}\n".encode() + strings + b"\x85R."
    names = b"".join(b"\x8c" + bytes([len(part)]) + part.encode() for part in (module, name))
    return b"\x80\x04" + names + b"\x93" + strings + b"\x85R."


CALLS = [
    "os:system",
    "posix:system",
    "nt:system",
    "subprocess:Popen",
    "subprocess:check_output",
    "builtins:eval",
    "builtins:exec",
    "__builtin__:eval",
    "builtins:open",
    "builtins:compile",
    "builtins:__import__",
    "builtins:getattr",
    "builtins:bytearray",
    "importlib:import_module",
    "runpy:run_path",
    "runpy:_run_code",
    "pty:spawn",
    "socket:create_connection",
    "shutil:rmtree",
    "urllib.request:urlopen",
    "webbrowser:open",
    "pickle:loads",
    "marshal:loads",
    "code:interact",
    "torch:load",
    "torch.hub:load",
    "torch.jit:load",
    "torch.serialization:load",
    "torch:Tensor",
    "torch.storage:UntypedStorage",
    "torch.utils.cpp_extension:load_inline",
    "numpy:load",
    "io:open",
    "torch._utils:_rebuild_device_tensor_from_numpy",
    "torch._tensor:_rebuild_from_type_v2",
    "sys:exit",
    "operator:attrgetter",
    "functools:partial",
    "bdb:Bdb",
    "timeit:timeit",
    "cProfile:run",
    "distutils.spawn:spawn",
    "pip:main",
    "ensurepip:_run_pip",
    "doctest:debug_script",
]


def hostile(folder: Path, canary: Path) -> list[Path]:
    """Files that would write `canary`, in every container that is read."""
    command = f"touch {canary}"
    pickles = {
        f"{call}.{protocol}": global_opcode(*call.split(":"), command, protocol)
        for call in CALLS
        for protocol in (2, 4)
    }
    for protocol in range(6):
        pickles[f"reduce.{protocol}"] = pickle.dumps({"a": Runs(os.system, command)}, protocol)
    pickles["inst"] = b"(S'" + command.encode() + b"'\nios\nsystem\n."
    pickles["ext"] = b"\x80\x02\x82\x01."
    paths = []
    for name, content in pickles.items():
        old, new = folder / f"{name}.old.pt", folder / f"{name}.new.pt"
        old.write_bytes(content)
        with zipfile.ZipFile(new, "w") as archive:
            archive.writestr("archive/data.pkl", content)
            archive.writestr("archive/version", "3\n")
        paths += [old, new]
    hidden = folder / "beside.pt"  # weights as they should be, and a call beside them
    torch.save({"a": torch.ones(2), "b": Runs(os.system, command)}, hidden)
    return [*paths, hidden]


AUDIT = """
import sys
from pathlib import Path
from mesascope.data import CheckpointRefused
from mesascope.models.opening.safe_files import read_tensors
import codecs
import torch
watched = {"os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "socket.connect", "socket.getaddrinfo", "exec",
           "compile", "import", "os.remove", "os.rename", "os.mkdir", "shutil.rmtree", "webbrowser.open", "pty.spawn"}
events, listening = [], False
def hook(event, arguments):
    writing = event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+")
    if listening and (event in watched or writing):
        events.append((event, str(arguments)[:100]))
sys.addaudithook(hook)
# what zipfile, pickletools and torch import on their first file is no part of the test
codecs.lookup("cp437"), codecs.lookup("raw_unicode_escape")
read_tensors(Path(sys.argv[1]) / "good.pt")
try:
    read_tensors(Path(sys.argv[1]) / "bad.pt")
except CheckpointRefused:
    pass
tried = 0
for path in sorted(Path(sys.argv[1]).glob("hostile/*.pt")):
    listening = True
    try:
        read_tensors(path)
        events.append(("opened", path.name))
    except CheckpointRefused as error:
        if "\\n" in str(error) or path.name not in str(error):
            events.append(("said", str(error)))
    listening, tried = False, tried + 1
print(tried, events)
"""


def test_nothing_in_a_file_runs(tmp_path: Path) -> None:
    (tmp_path / "hostile").mkdir()
    canary = tmp_path / "canary"
    paths = hostile(tmp_path / "hostile", canary)
    torch.save({"a": torch.ones(3)}, tmp_path / "good.pt")
    (tmp_path / "bad.pt").write_bytes((tmp_path / "good.pt").read_bytes()[:-9])
    with pytest.raises((RuntimeError, pickle.UnpicklingError)):
        torch.load(tmp_path / "hostile" / "reduce.2.new.pt", weights_only=True)  # it is torch's own refusal too
    answer = subprocess.run(
        [sys.executable, "-c", AUDIT, str(tmp_path)], capture_output=True, text=True, check=False, timeout=120
    )
    assert answer.stdout.strip() == f"{len(paths)} []", answer.stderr[-2000:]
    assert len(paths) > 180
    assert not canary.exists()


def test_the_canary_can_sing(tmp_path: Path) -> None:
    """The hostile files are hostile: opened without care, one of them runs."""
    canary = tmp_path / "canary"
    (tmp_path / "hostile").mkdir()
    hostile(tmp_path / "hostile", canary)
    pickle.loads((tmp_path / "hostile" / "posix:system.2.old.pt").read_bytes())
    assert canary.exists()
