"""Checkpoints: what is written comes back, what is damaged is refused in one line that names the file."""

from __future__ import annotations

import copy
import json
import pickle
import struct
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data import CheckpointRefused
from mesascope.models import RegressionConfig, load, load_all, save_checkpoint
from safetensors.torch import save
from torch import Tensor

CONFIG = RegressionConfig(d_in=2, d_head=4, n_heads=2)
Parameters = Callable[..., dict[str, Tensor]]


@pytest.fixture
def parameters(random_parameters: Parameters) -> dict[str, Tensor]:
    return random_parameters(CONFIG)


@pytest.fixture
def good(tmp_path: Path, parameters: dict[str, Tensor]) -> Path:
    save_checkpoint(tmp_path / "good.safetensors", CONFIG, parameters, {"recipe": "none"})
    return tmp_path / "good.safetensors"


def refusal(path: Path, **options: Any) -> str:
    """The one line that is said of a file, by the only exception that may come of it."""
    with pytest.raises(CheckpointRefused) as caught:
        load_all(path, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith((f"{path.name}: ", f"{path}: "))
    assert len(message) < 1_000
    return message


def metadata(config: Any = None, **changed: str) -> dict[str, str]:
    text = json.dumps(CONFIG.as_dict() if config is None else config)
    return {"format": "mesascope-regression-1", "config": text, "record": "{}"} | changed


def write(path: Path, tensors: dict[str, Tensor], meta: dict[str, str] | None = None) -> Path:
    path.write_bytes(save(tensors, metadata() if meta is None else meta))
    return path


def assemble(header: Any, data: bytes = b"") -> bytes:
    """A safetensors file from any header: a JSON value, or raw bytes."""
    raw = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


# ---- round trips ----


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.float16, torch.bfloat16])
def test_a_single_checkpoint_comes_back(tmp_path: Path, parameters: dict[str, Tensor], dtype: torch.dtype) -> None:
    parameters = {name: weight.to(dtype) for name, weight in parameters.items()}
    save_checkpoint(tmp_path / "mine.safetensors", CONFIG, parameters, {"recipe": {"steps": 5}})
    subject = load(tmp_path / "mine.safetensors")
    assert {name: weight.dtype for name, weight in subject.module.named_parameters()} == dict.fromkeys(
        parameters, dtype
    )
    assert all(torch.equal(subject.module.get_parameter(name), weight) for name, weight in parameters.items())
    assert subject.config == CONFIG
    source = subject.source
    assert (source.name, source.label, source.revision, source.seed, source.step) == ("mine", "mine", None, None, None)
    assert source.path == str(tmp_path / "mine.safetensors")
    assert source.facts == CONFIG.as_dict()
    assert source.record == {"recipe": {"steps": 5}}


def test_every_kind_of_configuration_comes_back(tmp_path: Path, random_parameters: Parameters) -> None:
    config = RegressionConfig(2, 2, 3, False, 2, 5, True, True, 0.75, 3.0, True, True)
    save_checkpoint(tmp_path / "a.safetensors", config, random_parameters(config))
    assert load(tmp_path / "a.safetensors").config == config


def test_a_family_comes_back_member_by_member(tmp_path: Path, random_parameters: Parameters) -> None:
    weights = {(seed, step): random_parameters(CONFIG, 100 * seed + step) for seed in (0, 3) for step in (5, 10)}
    family = {
        f"seed{s}/step{t}/{name}": weight for (s, t), member in weights.items() for name, weight in member.items()
    }
    path = tmp_path / "family.safetensors"
    save_checkpoint(path, CONFIG, family, {"recipe": "r"})
    for (seed, step), member in weights.items():
        subject = load(path, f"seed{seed}-step{step}")
        assert all(torch.equal(subject.module.get_parameter(name), weight) for name, weight in member.items())
        assert (subject.source.seed, subject.source.step) == (seed, step)
        assert subject.source.label == f"family-seed{seed}-step{step}"
    digests = {subject.source.weights_sha256 for subject in load_all(path, "all")}
    assert len(digests) == 4
    assert [subject.source.revision for subject in load_all(path)] == ["seed0-step10", "seed3-step10"]
    assert load(path).source.revision == "seed0-step10"


def test_saving_again_gives_the_same_bytes(tmp_path: Path, good: Path, parameters: dict[str, Tensor]) -> None:
    """Many times: the library beneath writes metadata in an order that it draws for each file."""
    for attempt in range(12):
        again = tmp_path / f"again{attempt}.safetensors"
        save_checkpoint(again, CONFIG, dict(reversed(parameters.items())), {"recipe": "none"})
        assert again.read_bytes() == good.read_bytes()


def test_views_and_gradients_are_saved_as_they_look(tmp_path: Path, parameters: dict[str, Tensor]) -> None:
    odd = {name: weight.mT.contiguous().mT.requires_grad_() for name, weight in parameters.items()}
    save_checkpoint(tmp_path / "odd.safetensors", CONFIG, odd)
    module = load(tmp_path / "odd.safetensors").module
    assert all(torch.equal(module.get_parameter(name), weight) for name, weight in parameters.items())


# ---- identity ----


def test_identity_is_the_weights_and_not_their_container(
    tmp_path: Path, good: Path, parameters: dict[str, Tensor]
) -> None:
    digest = load(good).source.weights_sha256
    save_checkpoint(tmp_path / "other name.safetensors", CONFIG, parameters, {"another": "record"})
    assert load(tmp_path / "other name.safetensors").source.weights_sha256 == digest
    family = {f"seed1/step2/{name}": weight for name, weight in parameters.items()}
    save_checkpoint(tmp_path / "family.safetensors", CONFIG, family)
    assert load(tmp_path / "family.safetensors").source.weights_sha256 == digest
    assert load(good, dtype=torch.float32).source.weights_sha256 == digest


def test_one_bit_is_another_identity(good: Path, parameters: dict[str, Tensor]) -> None:
    digests = {load(good).source.weights_sha256}
    for name in parameters:
        for place in (0, parameters[name].numel() // 2, -1):
            changed = copy.deepcopy(parameters)
            changed[name].view(torch.int64).reshape(-1)[place] ^= 1
            save_checkpoint(good, CONFIG, changed)
            digests.add(load(good).source.weights_sha256)
    assert len(digests) == 1 + 3 * len(parameters)


# ---- refusals ----


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({"d_in": 2, "n_haeds": 2}, "'n_haeds' is not known; did you mean n_heads"),
        ({"d_in": 2, "mlp_width": 4}, "'mlp_width' is not known"),
        ({"d_in": "2"}, "d_in = '2'; expected a whole number"),
        ({"d_in": 2, "softmax": 1}, "softmax = 1; expected true or false"),
        ({"d_in": 2, "dampening": "x"}, "dampening"),
        ({"d_in": 2, "dampening": float("nan")}, "dampening = nan"),
        ({"d_in": 2, "n_layers": 10**12}, "n_layers"),
        ({"n_heads": 2}, "d_in is missing"),
        ([], "not a JSON object"),
        (3, "not a JSON object"),
        ("text", "not a JSON object"),
    ],
)
def test_a_configuration_that_is_not_understood(
    tmp_path: Path, parameters: dict[str, Tensor], config: Any, message: str
) -> None:
    assert message in refusal(write(tmp_path / "a.safetensors", parameters, metadata(config)))


@pytest.mark.parametrize(
    "changed",
    [
        {"config": "{"},
        {"config": ""},
        {"config": "[" * 100_000},
        {"config": '{"d_in": ' + "9" * 5_000 + "}"},
        {"record": "nonsense"},
        {"record": "[1]"},
        {"record": "[" * 100_000},
        {"format": "mesascope-regression-2"},
        {"format": ""},
    ],
    ids=range(9),
)
def test_metadata_that_are_not_ours(tmp_path: Path, parameters: dict[str, Tensor], changed: dict[str, str]) -> None:
    refusal(write(tmp_path / "a.safetensors", parameters, metadata(**changed)))


def test_somebody_elses_safetensors(tmp_path: Path, parameters: dict[str, Tensor]) -> None:
    assert "without mesascope's metadata" in refusal(write(tmp_path / "a.safetensors", parameters, {}))
    assert "without mesascope's metadata" in refusal(write(tmp_path / "a.safetensors", parameters, {"format": "pt"}))


def wrong_tensors(good: dict[str, Tensor]) -> Iterator[tuple[str, dict[str, Tensor]]]:
    """(what the message must say, tensors)."""
    not_finite = {}
    for number in (torch.nan, torch.inf, -torch.inf):
        not_finite[number] = good["W_V"].clone()
        not_finite[number][0, 1, 2, 0] = number
    yield "do not match the configuration", {name: good[name] for name in good if name != "W_O"}
    yield "do not match the configuration", good | {"W_E": good["W_Q"].clone()}
    yield "do not match the configuration", good | {"../../W_Q": good["W_Q"].clone()}
    yield "do not match the configuration", {f"module.{name}": weight for name, weight in good.items()}
    yield "do not match the configuration", {}
    yield "surplus tensor", good | {"seed0/step0/W_Q": good["W_Q"].clone()}
    yield (
        "surplus tensor",
        {f"seed0/step0/{name}": weight for name, weight in good.items()} | {"seedling": torch.zeros(1)},
    )
    yield "surplus tensor", {f"seed0/step0/{n}": w for n, w in good.items()} | {"seed00/step0/W_Q": good["W_Q"].clone()}
    yield "do not match", {f"seed0/step0/{n}": w for n, w in good.items()} | {"seed0/step0/x/W_Q": torch.zeros(1)}
    yield "W_Q has shape", good | {"W_Q": good["W_Q"].mT.contiguous()}
    yield "W_Q has shape", good | {"W_Q": good["W_Q"][:, :1].clone()}
    yield "W_Q has shape", good | {"W_Q": torch.zeros(())}
    yield "W_Q has shape", good | {"W_Q": torch.zeros(0, 2, 3, 4)}
    for tensor in not_finite.values():
        (value,) = tensor[~torch.isfinite(tensor)].tolist()
        yield f"'W_V' holds {value}; expected finite weights", good | {"W_V": tensor}
    for dtype in (torch.int64, torch.int8, torch.uint8, torch.bool, torch.complex64, torch.float8_e4m3fn):
        yield f"'W_K' has dtype {dtype}; expected float64", good | {"W_K": good["W_K"].to(dtype)}
    yield "several dtypes", good | {"W_K": good["W_K"].double()}
    yield "has dtype torch.int32; expected float64", good | {"W_K\n\x1b[31m": torch.zeros(3, dtype=torch.int32)}


def test_wrong_tensors_are_refused(tmp_path: Path, parameters: dict[str, Tensor]) -> None:
    for message, tensors in wrong_tensors({name: weight.float() for name, weight in parameters.items()}):
        assert message in refusal(write(tmp_path / "a.safetensors", tensors))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", "Git LFS pointer"),
        (b"<!DOCTYPE html><html><head><title>404</title></head></html>", "HTML"),
        (b"\n  <html lang='en'>" + b" " * 200, "HTML"),
        (b'<?xml version="1.0"?><Error><Code>AccessDenied</Code></Error>', "HTML or XML"),
        (b"GGUF\x03" + b"\0" * 100, "GGUF weights, as llama.cpp reads them"),
        (b"\x89HDF\r\n\x1a\n" + b"\0" * 100, "an HDF5 file, as Keras writes"),
        (b"", "truncated"),
        (b"\0" * 7, "truncated"),
        (b"\0" * 100, "truncated"),
        (b"PK\x03\x04" + b"\0" * 100, "a zip archive, not safetensors"),
        (pickle.dumps({"a": 1}, protocol=4), "Python pickle (protocol 4), not safetensors; mesascope never unpickles"),
        (pickle.dumps({"a": 1}, protocol=2), "reads the arrays of a pickle without running it; see docs/checkpoints"),
        (b"\xff" * 8 + b"{}", "truncated"),
        (struct.pack("<Q", 100_000_001) + b"{}", "truncated"),
        (assemble(b"[" * 100_000), "not JSON"),
        (assemble(b'{"a": ' + b"9" * 5_000 + b"}"), "not JSON"),
        (assemble(b"\xff\xfe{}"), "not JSON"),
        (assemble([]), "not a JSON object"),
        (assemble({}), "without mesascope's metadata"),
        (assemble({"__metadata__": None}), "without mesascope's metadata"),
        (assemble({"__metadata__": []}), "without mesascope's metadata"),
        (assemble({"__metadata__": {"format": "mesascope-regression-1"}}), "config"),
        (assemble({"__metadata__": {"format": "mesascope-regression-1", "config": 3}}), "config"),
        (assemble({"__metadata__": {"format": ["mesascope-regression-1"]}}), "without mesascope's metadata"),
        (assemble({"__metadata__": metadata(), "seed" + "9" * 5_000 + "/step0/W_Q": {}}), "damaged"),
        (assemble({"__metadata__": metadata(), "\ud800": {}}), "damaged"),
        (assemble(b'{"__metadata__": {"format": "x"}, "__metadata__": {"format": "y"}}'), "twice"),
    ],
    ids=range(27),
)  # fmt: skip
def test_what_is_found_under_a_weight_files_name(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "a.safetensors").write_bytes(content)
    assert message in refusal(tmp_path / "a.safetensors")


@pytest.mark.parametrize(
    "entry",
    [
        None,
        [],
        {},
        {"dtype": "F64"},
        {"dtype": "F64", "shape": [1, 2, 3, 4], "data_offsets": [0, 193]},
        {"dtype": "F64", "shape": [1, 2, 3, 4], "data_offsets": [192, 0]},
        {"dtype": "F64", "shape": [1, 2, 3, 4], "data_offsets": [-192, 0]},
        {"dtype": "F64", "shape": [1, 2, 3, 4], "data_offsets": [0]},
        {"dtype": "F64", "shape": [1, 2, 3, -4], "data_offsets": [0, 192]},
        {"dtype": "F64", "shape": [2**32, 2**32, 3, 3], "data_offsets": [0, 192]},
        {"dtype": "F64", "shape": [10**6, 10**6], "data_offsets": [0, 8 * 10**12]},
        {"dtype": "F99", "shape": [1, 2, 3, 4], "data_offsets": [0, 192]},
        {"dtype": "F64", "shape": "1233", "data_offsets": [0, 192]},
        {"dtype": "F64", "shape": [1, 2, 3, 4], "data_offsets": [8, 200]},
    ],
)
def test_a_header_that_lies_about_its_data(tmp_path: Path, parameters: dict[str, Tensor], entry: Any) -> None:
    header: dict[str, Any] = {"__metadata__": metadata()}
    for position, name in enumerate(parameters):
        span = [192 * position, 192 * position + 192]
        header[name] = {"dtype": "F64", "shape": list(CONFIG.shapes[name]), "data_offsets": span}
    data = b"".join(weight.numpy().tobytes() for weight in parameters.values())
    (tmp_path / "a.safetensors").write_bytes(assemble(header, data))
    load(tmp_path / "a.safetensors")  # the control: told the truth, it opens
    (tmp_path / "a.safetensors").write_bytes(assemble(header | {"W_Q": entry}, data))
    refusal(tmp_path / "a.safetensors")
    (tmp_path / "a.safetensors").write_bytes(assemble(header, data + b"\0" * 8))
    refusal(tmp_path / "a.safetensors")


def test_every_truncation_is_refused(good: Path, rng: np.random.Generator) -> None:
    whole = good.read_bytes()
    for end in [*range(64), *rng.integers(64, len(whole), 150)]:
        good.write_bytes(whole[:end])
        refusal(good)


def test_every_flipped_bit_is_refused_or_another_identity(good: Path, rng: np.random.Generator) -> None:
    """In the data a flip makes another digest; in the header it is refused, changes what is said, or says the same."""
    whole, control = good.read_bytes(), load(good).source
    header = 8 + int.from_bytes(whole[:8], "little")
    bits = [*range(64), *rng.integers(64, 8 * header, 250), *rng.integers(8 * header, 8 * len(whole), 100)]
    messages, started = [], time.perf_counter()
    for bit in bits:
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << (bit % 8)
        good.write_bytes(flipped)
        try:
            source = load(good).source
        except CheckpointRefused as error:
            messages.append(str(error))
            continue
        if source.weights_sha256 == control.weights_sha256:
            assert bit // 8 < header
            same_text = json.loads(whole[8:header]) == json.loads(flipped[8:header])
            assert same_text or (source.facts, source.record) != (control.facts, control.record)
    assert len(messages) > len(bits) / 3
    assert all("good.safetensors" in message and "\n" not in message for message in messages)
    assert time.perf_counter() - started < 10


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "absent.safetensors")
    (tmp_path / "folder.safetensors").mkdir()
    assert "a directory" in refusal(tmp_path / "folder.safetensors")


def test_nothing_is_written_while_reading(good: Path) -> None:
    before = sorted(good.parent.iterdir())
    load(good)
    good.write_bytes(good.read_bytes()[:-1])
    refusal(good)
    assert sorted(good.parent.iterdir()) == before
