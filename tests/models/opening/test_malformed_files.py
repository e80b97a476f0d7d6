"""A good and some three hundred damaged and hostile checkpoints, in one process that hears all that happens.

Each is refused in one line that names it, or opened where the damage is in what means nothing; nothing runs, nothing is
written, nothing takes long.
"""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.models import AttentionOnlyConfig, save_checkpoint
from safetensors.torch import load_file, save_file

CONFIG = AttentionOnlyConfig(d_vocab=5, n_ctx=4, d_model=4, n_layers=1, n_heads=1, d_head=2, norm="none")

LISTEN = """
import json, sys, time, warnings
from pathlib import Path
import torch
from mesascope.data import MesascopeError
from mesascope.models import load
import mesascope.models.opening.pretrained
folder = Path(sys.argv[1])
forbidden = ("os.system", "os.exec", "os.posix_spawn", "subprocess.Popen", "socket.connect", "socket.getaddrinfo",
             "os.remove", "os.rename", "os.mkdir", "shutil.rmtree", "webbrowser.open", "pty.spawn")
events, listening = [], False
def hear(event, arguments):
    writes = event == "open" and isinstance(arguments[1], str) and set("wax+") & set(arguments[1])
    if listening and (event in forbidden or (writes and "/dev/null" not in str(arguments[0]))):
        events.append((event, str(arguments)[:200]))
sys.addaudithook(hear)
sys.dont_write_bytecode = True
def attempt(path):
    how = {"layout": "tl-legacy"} if path.suffix == ".pt" else {}
    began = time.perf_counter()
    try:
        load(path, **how)
        said = None
    except MesascopeError as error:
        said = str(error)
    return said, time.perf_counter() - began
listening = True
first = attempt(folder / "own")  # with all that the first opening imports
listening = False
found = {}
for path in sorted((folder / "bad").iterdir()):
    listening = True
    found[path.name] = attempt(path)
    listening = False
print(json.dumps([first, found, events]))
"""


class Touches:
    """Unpickled, it makes a file."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return os.system, (f"touch {self.canary}",)


@dataclass(frozen=True)
class Heard:
    """What happened in the process, and in the folder before and after it.

    first:   (refusal or None, seconds) of a good directory with code of its own
    found:   the same by name for every bad file and directory
    events:  executions, connections and writes
    """

    folder: Path
    first: tuple[str | None, float]
    found: dict[str, tuple[str | None, float]]
    events: list[Any]
    changed: bool


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory, tiny: Callable[..., Any]) -> Heard:
    folder, rng = tmp_path_factory.mktemp("malformed"), np.random.default_rng(20230531)
    whole, bad = folder / "whole", folder / "bad"
    tiny("llama", num_hidden_layers=1).save_pretrained(whole)
    with_own_code(Path(shutil.copytree(whole, folder / "own")), folder / "canary")
    bad.mkdir()
    of_ours(bad, rng)
    of_torch(bad, rng)
    of_headers(bad, whole)
    of_directories(bad, whole)
    before = {path: path.lstat().st_mtime_ns for path in folder.rglob("*")}
    words = [sys.executable, "-B", "-c", LISTEN, str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=500)
    assert done.returncode == 0, done.stderr[-2000:]
    assert done.stderr == ""
    changed = {path: path.lstat().st_mtime_ns for path in folder.rglob("*")} != before
    return Heard(folder, *json.loads(done.stdout.splitlines()[-1]), changed)


def with_own_code(folder: Path, canary: Path) -> None:
    """Put code into a directory, and ask for it in its configuration."""
    (folder / "modeling_own.py").write_text(f"open({str(canary)!r}, 'w').close()")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "_attn_implementation_internal": "own/kernel"}))


def of_ours(bad: Path, rng: np.random.Generator) -> None:
    """A file of ours, cut off and with bits of its header flipped."""
    file = bad / "control.safetensors"
    save_checkpoint(file, CONFIG, {name: torch.ones(shape) for name, shape in CONFIG.shapes.items()})
    whole = file.read_bytes()
    header = 8 + int.from_bytes(whole[:8], "little")
    for number, end in enumerate([*range(12), *rng.integers(12, len(whole), 48)]):
        (bad / f"cut-{number}.safetensors").write_bytes(whole[:end])
    for number, bit in enumerate(rng.integers(0, 8 * header, 80)):
        (bad / f"flip-{number}.safetensors").write_bytes(flipped(whole, int(bit)))


def flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << (bit % 8)
    return bytes(changed)


SINGLE = ("embed.W_E", "pos_embed.W_pos", "unembed.W_U", "unembed.b_U")


def of_torch(bad: Path, rng: np.random.Generator) -> None:
    """A state dict of the old names, cut off, with bits flipped, and with a call in it."""
    state = {
        f"blocks.0.attn.{name}": torch.ones(CONFIG.shapes[name][1:]) for name in CONFIG.shapes if name[-1] in "QKVO"
    }
    state |= {old: torch.ones(CONFIG.shapes[old.rpartition(".")[2]]) for old in SINGLE}
    for zipped in (True, False):
        file = bad / f"control-{zipped}.pt"
        torch.save(state, file, _use_new_zipfile_serialization=zipped)
        whole = file.read_bytes()
        for number, end in enumerate(rng.integers(0, len(whole), 20)):
            (bad / f"cut-{number}-{zipped}.pt").write_bytes(whole[:end])
        for number, bit in enumerate(rng.integers(0, 8 * len(whole), 20)):
            (bad / f"flip-{number}-{zipped}.pt").write_bytes(flipped(whole, int(bit)))
        for protocol in range(2, 5):
            hostile = {**state, "unembed.b_U": Touches(bad.parent / "canary")}
            torch.save(
                hostile,
                bad / f"call-{protocol}-{zipped}.pt",
                pickle_protocol=protocol,
                _use_new_zipfile_serialization=zipped,
            )


def header(entries: Any, data: int = 8) -> bytes:
    text = entries if isinstance(entries, bytes) else json.dumps(entries).encode()
    return len(text).to_bytes(8, "little") + text + b"\0" * data


ENTRY = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
HEADERS: dict[str, bytes] = {
    "nothing": b"",
    "empty": header({}, 0),
    "list": header([]),
    "scalar": header({"a": {**ENTRY, "shape": [], "data_offsets": [0, 4]}}, 4),
    "twice": header(b'{"a":%s,"a":%s}' % ((json.dumps(ENTRY).encode(),) * 2)),
    "climbs": header({"../../a": ENTRY}),
    "null byte": header({"a\0b": ENTRY}),
    "script": header({"<script>alert(1)</script>": ENTRY}),
    "terabytes": header({"a": {**ENTRY, "shape": [10**6, 10**6]}}),
    "beyond": header({"a": {**ENTRY, "data_offsets": [0, 10**12]}}),
    "backwards": header({"a": {**ENTRY, "data_offsets": [8, 0]}}),
    "overlap": header({"a": ENTRY, "b": ENTRY}),
    "hole": header({"a": {**ENTRY, "data_offsets": [8, 16]}}, 16),
    "no dtype": header({"a": {"shape": [2], "data_offsets": [0, 8]}}),
    "odd dtype": header({"a": {**ENTRY, "dtype": "F33"}}),
    "negative": header({"a": {**ENTRY, "shape": [-2]}}),
    "true": header({"a": {**ENTRY, "shape": [True, 2]}}),
    "deep": header(b'{"a":' + b"[" * 50_000),
    "huge": (99_000_000).to_bytes(8, "little") + b"{",
    "negative length": b"\xff" * 8 + b"{}",
    "utf-16": header('{"a":1}'.encode("utf-16")),
    "html": b"<!doctype html><html>404</html>",
    "pointer": b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n",
    "pickle": pickle.dumps({"a": 1}),
}


def of_headers(bad: Path, whole: Path) -> None:
    """Odd safetensors, alone and as the weights of a directory."""
    for name, content in HEADERS.items():
        (bad / f"odd-{name}.safetensors").write_bytes(content)
        folder = Path(shutil.copytree(whole, bad / f"odd-{name}"))
        (folder / "model.safetensors").write_bytes(content)


CONFIGS: dict[str, Any] = {
    "auto_map": {"AutoModel": "code.Model"},
    "model_type": "none-such",
    "vocab_size": 10**9,
    "hidden_size": 10**9,
    "num_hidden_layers": 10**9,
    "num_attention_heads": 0,
    "num_key_value_heads": 3,
    "intermediate_size": -1,
    "hidden_act": "os.system",
    "head_dim": "wide",
    "rope_parameters": {"rope_type": "none such"},
    "quantization_config": {"quant_method": "gptq"},
    "model_file": "code.py",
}
INDEXES: dict[str, Any] = {
    "nothing": {},
    "list": [],
    "number": {"lm_head.weight": 3},
    "outside": "../outside.safetensors",
    "absolute": "/etc/hostname",
    "parent": "..",
    "null": "a\0b",
    "backslash": "..\\a",
    "link": "link.safetensors",
    "absent": "absent.safetensors",
    "folder": "folder",
}


def of_directories(bad: Path, whole: Path) -> None:
    """Configurations, indexes and tensors that are not what they should be."""
    for key, value in CONFIGS.items():
        folder = Path(shutil.copytree(whole, bad / f"config-{key}"))
        values = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**values, key: value}))
    for name, value in INDEXES.items():
        folder = Path(shutil.copytree(whole, bad / f"index-{name}"))
        names = list(load_file(folder / "model.safetensors"))
        (folder / "model.safetensors").rename(folder / "one.safetensors")
        (folder / "link.safetensors").symlink_to(whole / "model.safetensors")
        (folder / "folder").mkdir()
        table = {**dict.fromkeys(names, "one.safetensors"), names[0]: value} if isinstance(value, str) else value
        (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": table}))
    for name, tensors in altered(load_file(whole / "model.safetensors")):
        folder = Path(shutil.copytree(whole, bad / f"tensors-{name}"))
        save_file(tensors, folder / "model.safetensors")


def altered(state: dict[str, torch.Tensor]) -> Iterator[tuple[str, dict[str, torch.Tensor]]]:
    """A state dict with every tensor in turn missing, misshapen, of whole numbers, and not finite."""
    for number, (name, tensor) in enumerate(state.items()):
        if name != "lm_head.weight":  # a model without its head opens, and has no logits
            yield f"missing-{number}", {other: value for other, value in state.items() if other != name}
        yield f"misshapen-{number}", {**state, name: tensor[:-1].clone()}
        yield f"whole-{number}", {**state, name: tensor.long()}
        yield f"infinite-{number}", {**state, name: torch.full_like(tensor, torch.inf)}
    yield "renamed", {f"x.{name}": tensor for name, tensor in state.items()}
    yield "surplus", {**state, "model.extra.weight": torch.ones(2)}


def test_nothing_is_executed_and_nothing_is_written(heard: Heard) -> None:
    assert heard.first[0] is None
    assert heard.events == []
    assert not heard.changed
    assert not (heard.folder / "canary").exists()


def test_every_malformed_file_is_refused_in_one_line(heard: Heard) -> None:
    assert len(heard.found) >= 300
    opened = {name for name, (said, _) in heard.found.items() if said is None}
    assert {name for name in opened if not name.startswith("flip-")} == {
        name for name in heard.found if "control" in name
    }
    assert len(opened) < 50
    for name, (said, seconds) in heard.found.items():
        assert seconds < 10, name
        if said is not None:
            assert name in said, (name, said)
            assert "\n" not in said
            assert len(said) < 700
