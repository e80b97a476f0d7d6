"""Directories from elsewhere: nothing outside them is read, and no claim is believed that the files do not bear out."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from mesascope.data.errors import CheckpointRefused
from mesascope.models.opening.shards import read_config, read_directory
from safetensors.torch import save_file

CONFIG = {"model_type": "llama", "num_hidden_layers": 1, "vocab_size": 4, "_name_or_path": "/somewhere/else"}


def write_header(path: Path, header: Any, data: bytes = b"") -> None:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)


def write_index(folder: Path, weight_map: Any) -> None:
    (folder / "model.safetensors.index.json").write_text(json.dumps({"weight_map": weight_map}))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two shards with their index, and beside the folder a file that is none of its business."""
    inside = tmp_path / "model"
    inside.mkdir()
    save_file({"a": torch.ones(2)}, inside / "one.safetensors")
    save_file({"b": torch.ones(3, 2)}, inside / "two.safetensors")
    save_file({"b": torch.ones(3, 2)}, tmp_path / "outside.safetensors")
    (inside / "config.json").write_text(json.dumps(CONFIG))
    write_index(inside, {"a": "one.safetensors", "b": "two.safetensors"})
    return inside


def test_a_directory_is_read_without_its_tensors(folder: Path) -> None:
    directory = read_directory(folder)
    assert {name: (stored.file.name, stored.shape) for name, stored in directory.tensors.items()} == {
        "a": ("one.safetensors", (2,)),
        "b": ("two.safetensors", (3, 2)),
    }
    assert directory.config == {"model_type": "llama", "num_hidden_layers": 1, "vocab_size": 4}


@pytest.mark.parametrize(
    "name",
    [
        "../outside.safetensors",
        "{parent}/outside.safetensors",
        "./two.safetensors",
        "..",
        ".",
        "",
        "sub/../../outside.safetensors",
        "..\\outside.safetensors",
        "C:outside.safetensors",
        "two.safetensors\0",
        "~/two.safetensors",
        "file:///etc/passwd",
        "https://example.org/two.safetensors",
        "TWO.SAFETENSORS",
        "two.safetensors ",
        "link.safetensors",
        "hard.safetensors",
        "loop.safetensors",
        "nowhere.safetensors",
        "subfolder",
        "pipe",
    ],
)
def test_nothing_outside_the_directory_is_opened(folder: Path, name: str) -> None:
    outside = folder.parent / "outside.safetensors"
    (folder / "link.safetensors").symlink_to(outside)
    (folder / "hard.safetensors").symlink_to("../outside.safetensors")
    (folder / "loop.safetensors").symlink_to("loop.safetensors")
    (folder / "nowhere.safetensors").symlink_to("gone")
    (folder / "subfolder").mkdir()
    os.mkfifo(folder / "pipe")
    write_index(folder, {"a": "one.safetensors", "b": name.format(parent=folder.parent)})
    opened: list[str] = []
    with watching_opens(opened), pytest.raises(CheckpointRefused):
        read_directory(folder)
    assert not [path for path in opened if Path(path).resolve() == outside.resolve()]


class watching_opens:
    """The files that Python opens within the block, as an audit hook sees them."""

    current: list[str] | None = None
    installed = False

    def __init__(self, opened: list[str]) -> None:
        self.opened = opened

    def __enter__(self) -> None:
        if not watching_opens.installed:
            sys.addaudithook(watching_opens.hook)
            watching_opens.installed = True
        watching_opens.current = self.opened

    def __exit__(self, *exception: object) -> None:
        watching_opens.current = None

    @staticmethod
    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and watching_opens.current is not None:
            watching_opens.current.append(str(arguments[0]))


@pytest.mark.parametrize("linked", ["config.json", "model.safetensors.index.json", "one.safetensors"])
def test_links_out_of_the_directory_are_refused(folder: Path, linked: str) -> None:
    (folder / linked).rename(folder.parent / "moved")
    (folder / linked).symlink_to(folder.parent / "moved")
    with pytest.raises(CheckpointRefused, match=r"link that leaves"):
        read_directory(folder)


def test_links_within_a_hub_cache_are_followed(folder: Path, tmp_path: Path) -> None:
    repository = tmp_path / "models--someone--something"
    (repository / "blobs").mkdir(parents=True)
    snapshot = repository / "snapshots" / "0123abcd"
    snapshot.mkdir(parents=True)
    for file in folder.iterdir():
        file.rename(repository / "blobs" / f"hash-of-{file.name}")
        (snapshot / file.name).symlink_to(f"../../blobs/hash-of-{file.name}")
    assert set(read_directory(snapshot).tensors) == {"a", "b"}
    (snapshot / "two.safetensors").unlink()
    (snapshot / "two.safetensors").symlink_to(tmp_path / "outside.safetensors")
    with pytest.raises(CheckpointRefused, match="leaves the directory"):
        read_directory(snapshot)


@pytest.mark.parametrize(
    ("weight_map", "message"),
    [
        ({"a": "one.safetensors"}, None),  # a shard that the index does not name is not opened
        ({"a": "one.safetensors", "b": "one.safetensors"}, "'b' is not in one.safetensors, where the index expects it"),
        ({"a": "one.safetensors", "b": "two.safetensors", "c": "two.safetensors"}, "'c' is not in"),
        ({"b": "two.safetensors", "c": "one.safetensors"}, "'c' is not in"),
        ({}, "not a table"),
        ([], "not a table"),
        ({"a": 3}, "not a table"),
        ({"a": "three.safetensors"}, "no such file"),
    ],
)
def test_an_index_says_what_the_shards_hold(folder: Path, weight_map: Any, message: str | None) -> None:
    write_index(folder, weight_map)
    if message is None:
        assert set(read_directory(folder).tensors) == {"a"}
        return
    with pytest.raises(CheckpointRefused, match=message):
        read_directory(folder)


def test_a_tensor_in_two_shards_or_in_none_of_the_index_is_refused(folder: Path) -> None:
    save_file({"a": torch.ones(2), "b": torch.ones(3, 2)}, folder / "one.safetensors")
    with pytest.raises(CheckpointRefused, match=r"'b' is in one.safetensors too"):
        read_directory(folder)
    save_file({"a": torch.ones(2), "c": torch.ones(3, 2)}, folder / "one.safetensors")
    with pytest.raises(CheckpointRefused, match=r"not in the index"):
        read_directory(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"auto_map": {"AutoModel": "code.Model"}}, "auto_map asks for the model's own code"),
        ({"text_config": {"auto_map": {"AutoModel": "code.Model"}}}, "auto_map asks for the model's own code"),
        ({"nested": [{"trust_remote_code": True}]}, "trust_remote_code asks for the model's own code"),
        ({"model_file": "model.py"}, "model_file asks for the model's own code"),
        ({"quantization_config": {"quant_method": "gptq"}}, "quantised"),
        ({"model_type": None}, "model_type = None"),
        ({"num_hidden_layers": 10**9}, "weights are 2 tensors"),
        ({"text_config": {"num_hidden_layers": 10**9}}, "weights are 2 tensors"),
        ({"n_layer": 10**9}, "weights are 2 tensors"),
        ({"decoder_layers": 10**6}, "weights are 2 tensors"),
        ({"num_feedforward_networks": 10**6}, "weights are 2 tensors"),
        ({"num_self_attends_per_block": 10**6}, "weights are 2 tensors"),
    ],
)
def test_configurations_that_ask_for_code_or_for_too_much(folder: Path, change: dict[str, Any], message: str) -> None:
    (folder / "config.json").write_text(json.dumps({**CONFIG, **change}))
    with pytest.raises(CheckpointRefused, match=message):
        read_directory(folder)


def test_a_tokenizer_that_asks_for_code_is_refused(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text('{"auto_map": {"AutoTokenizer": ["code.Tokenizer", null]}}')
    with pytest.raises(CheckpointRefused, match=r"tokenizer_config.json: auto_map"):
        read_directory(folder)


def test_what_is_private_to_the_writer_is_dropped(folder: Path) -> None:
    private = {"_attn_implementation_internal": "somebody/kernel", "attn_implementation": "somebody/kernel"}
    nested = {"text_config": {"hidden_size": 4, **private}}
    (folder / "config.json").write_text(json.dumps({**CONFIG, **private, **nested}))
    config = read_config(folder)
    assert set(config) == {"model_type", "num_hidden_layers", "vocab_size", "text_config"}
    assert config["text_config"] == {"hidden_size": 4}


def test_labels_are_dropped_before_anybody_writes_them_out(folder: Path) -> None:
    labels = {"num_labels": 10**9, "id2label": {"0": "a"}, "label2id": {"a": 0}}
    (folder / "config.json").write_text(json.dumps({**CONFIG, **labels, "text_config": labels}))
    assert set(read_config(folder)) == {"model_type", "num_hidden_layers", "vocab_size", "text_config"}


def test_counts_that_small_models_leave_at_their_defaults_are_no_bombs(folder: Path) -> None:
    (folder / "config.json").write_text(json.dumps({**CONFIG, "max_window_layers": 28}))
    assert read_directory(folder).config["max_window_layers"] == 28


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{",
        b"\xff\xfe",
        b'{"model_type": "llama", "model_type": "gpt2"}',
        b"[" * 100_000,
        b"NaN",
        b"<html>",
    ],
)
@pytest.mark.parametrize("name", ["config.json", "model.safetensors.index.json"])
def test_json_that_is_none(folder: Path, name: str, text: bytes) -> None:
    (folder / name).write_bytes(text)
    with pytest.raises(CheckpointRefused, match=name.replace(".", r"\.")):
        read_directory(folder)


@pytest.mark.parametrize(
    ("entry", "data"),
    [
        ({"dtype": "F32", "shape": [10**6, 10**6], "data_offsets": [0, 8]}, 8),
        ({"dtype": "F32", "shape": [2], "data_offsets": [0, 4 * 10**12]}, 8),
        ({"dtype": "F32", "shape": [10**12], "data_offsets": [0, 4 * 10**12]}, 8),
        ({"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]}, 8),
        ({"dtype": "F32", "shape": [True, 2], "data_offsets": [0, 8]}, 8),
        ({"dtype": "F33", "shape": [2], "data_offsets": [0, 8]}, 8),
        ({"dtype": ["F32"], "shape": [2], "data_offsets": [0, 8]}, 8),
        ({"dtype": "F32", "shape": None, "data_offsets": [0, 8]}, 8),
        ({"dtype": "F32", "shape": [2], "data_offsets": [0]}, 8),
        ({"dtype": "F32", "shape": [2]}, 8),
        ({"dtype": "F32", "shape": [2], "data_offsets": [4, 12]}, 12),
        ({"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, 4),
        ({"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, 12),
        ([], 8),
        (None, 8),
    ],
)
def test_headers_that_the_file_does_not_bear_out(folder: Path, entry: Any, data: int) -> None:
    write_header(folder / "one.safetensors", {"a": entry}, b"\0" * data)
    with pytest.raises(CheckpointRefused, match=r"one\.safetensors"):
        read_directory(folder)


def test_overlapping_tensors_are_refused(folder: Path) -> None:
    entry = {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}
    write_header(folder / "one.safetensors", {"a": entry, "c": entry}, b"\0" * 8)
    with pytest.raises(CheckpointRefused, match="overlap"):
        read_directory(folder)


def huge_header(folder: Path) -> None:
    write_header(folder / "one.safetensors", b'{"a":[' + b"[]," * 20_000_000 + b"[]]}")


def huge_index(folder: Path) -> None:
    (folder / "model.safetensors.index.json").write_bytes(b'{"a":[' + b"[]," * 20_000_000 + b"[]]}")


def claimed_header(folder: Path) -> None:
    (folder / "one.safetensors").write_bytes((99_000_000).to_bytes(8, "little") + b"{")


def crowded_header(folder: Path) -> None:
    write_header(folder / "one.safetensors", b'{"a":[' + b"[]," * 3_000_000 + b"[]]}")


def crowded_config(folder: Path) -> None:
    (folder / "config.json").write_bytes(b"{" + b",".join(b'"%x":1' % key for key in range(1_000_000)) + b"}")


@pytest.mark.parametrize("bomb", [huge_header, huge_index, claimed_header, crowded_header, crowded_config])
def test_bombs_are_refused_at_once(folder: Path, bomb: Callable[[Path], None]) -> None:
    bomb(folder)
    before, start = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    with pytest.raises(CheckpointRefused):
        read_directory(folder)
    assert time.process_time() - start < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("adapter_model.safetensors", "an adapter"),
        ("tf_model.h5", "tf_model.h5: TensorFlow"),
        ("tiny-q4.gguf", "tiny-q4.gguf: GGUF weights"),
        ("model-00001-of-00002.safetensors", "model-00001-of-00002.safetensors: a shard without the index of all"),
        ("model.fp16.safetensors", "model.fp16.safetensors: weights of a variant; rename"),
        ("consolidated.safetensors", "consolidated.safetensors: weights in the names of the original code"),
        ("weights.pt", "weights.pt: not a name of save_pretrained; give the file itself"),
        ("README.md", "without weights"),
    ],
)
def test_a_directory_without_weights_is_named(tmp_path: Path, name: str, message: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIG))
    (tmp_path / name).write_text("")
    with pytest.raises(CheckpointRefused, match=message):
        read_directory(tmp_path)


def test_a_directory_without_a_configuration_is_named(folder: Path) -> None:
    (folder / "config.json").unlink()
    with pytest.raises(CheckpointRefused, match=r"without config\.json"):
        read_directory(folder)
    with pytest.raises(CheckpointRefused, match="no such directory"):
        read_directory(folder / "config.json")


def test_pickled_weights_are_left_to_the_safe_reader(folder: Path) -> None:
    for file in folder.glob("*.safetensors*"):
        file.unlink()
    (folder / "pytorch_model.bin").write_bytes(b"not looked at")
    directory = read_directory(folder)
    assert directory.tensors == {}
    assert [file.name for file in directory.pickles] == ["pytorch_model.bin"]


def test_reading_needs_no_torch(folder: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from mesascope.models.opening.shards import read_directory;"
        f" read_directory(Path({str(folder)!r})); sys.exit('torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_infinite_numbers_of_a_configuration_are_read(tmp_path: Path) -> None:
    """As transformers writes them; whatever else is in such an object stays what it is."""
    values = {"model_type": "bamba", "limits": [0.0, {"__float__": "Infinity"}], "other": {"__float__": "1"}}
    (tmp_path / "config.json").write_text(json.dumps(values))
    config = read_config(tmp_path)
    assert config["limits"] == [0.0, float("inf")]
    assert config["other"] == {}  # keys that begin with an underscore are private
