"""Files from strangers: nothing in them runs, nothing is written, and every refusal is one line that names the file."""

from __future__ import annotations

import collections
import io
import os
import pickle
import resource
import tarfile
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data import CheckpointRefused
from mesascope.models import load
from mesascope.models.opening.safe_files import read_tensors
from torch import Tensor

SHARED = Path(os.environ.get("MESASCOPE_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data"))
TENSORS = {"a.weight": torch.arange(12.0).reshape(3, 4), "b": torch.tensor([1.5, -2.0], dtype=torch.float64)}


def refusal(path: Path) -> str:
    """The one line that is said of a file, by the only exception that may come of it."""
    with pytest.raises(CheckpointRefused) as caught:
        read_tensors(path)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith((f"{path.name}: ", f"{path}: "))
    assert len(message) < 600
    return message


def saved(path: Path, content: Any, **options: Any) -> Path:
    torch.save(content, path, **options)
    return path


def same(found: dict[str, Tensor], expected: dict[str, Tensor]) -> bool:
    return set(found) == set(expected) and all(
        torch.equal(found[name], tensor) and found[name].dtype == tensor.dtype for name, tensor in expected.items()
    )


# ---- what opens ----


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("suffix", [".pt", ".pth", ".bin", ".ckpt"])
def test_a_state_dict_comes_back(tmp_path: Path, zipped: bool, suffix: str) -> None:
    path = saved(tmp_path / f"a{suffix}", TENSORS, _use_new_zipfile_serialization=zipped)
    assert same(read_tensors(path), TENSORS)


@pytest.mark.parametrize("zipped", [True, False])
def test_forms_that_state_dicts_take(tmp_path: Path, zipped: bool) -> None:
    module = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.BatchNorm1d(4))
    for content in (module.state_dict(), dict(module.named_parameters()), collections.OrderedDict(TENSORS)):
        path = saved(tmp_path / "a.pt", content, _use_new_zipfile_serialization=zipped)
        assert same(read_tensors(path), {name: tensor.detach() for name, tensor in content.items()})
    half = {
        str(kind): torch.ones(2, 3, dtype=kind) for kind in (torch.float16, torch.bfloat16, torch.int64, torch.bool)
    }
    assert same(read_tensors(saved(tmp_path / "a.pt", half, _use_new_zipfile_serialization=zipped)), half)
    shared = torch.randn(4, 4)
    views = {"whole": shared, "row": shared[1], "turned": shared.mT}
    assert same(read_tensors(saved(tmp_path / "a.pt", views, _use_new_zipfile_serialization=zipped)), views)


@pytest.mark.parametrize("entry", ["model", "state_dict", "model_state_dict"])
def test_the_weights_of_a_training_checkpoint(tmp_path: Path, entry: str) -> None:
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(2))])
    content = {entry: TENSORS, "optimizer": optimizer.state_dict(), "step": 3, "loss": 0.25}
    assert same(read_tensors(saved(tmp_path / "a.pt", content)), TENSORS)


def test_weights_saved_on_a_gpu_open_on_the_cpu(tmp_path: Path) -> None:
    """No GPU is needed to write what one writes: the place stands in the pickle as text."""
    content = io.BytesIO()
    torch.save(TENSORS, content)
    elsewhere = content.getvalue().replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
    assert elsewhere != content.getvalue()
    source, target = zipfile.ZipFile(content), zipfile.ZipFile(tmp_path / "gpu.pt", "w")
    with source, target:
        for name in source.namelist():
            data = source.read(name).replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0")
            target.writestr(name, data)
    found = read_tensors(tmp_path / "gpu.pt")
    assert same(found, TENSORS)
    assert {tensor.device.type for tensor in found.values()} == {"cpu"}


# ---- kinds, named in words ----


def optimiser_only(path: Path) -> None:
    parameter = torch.nn.Parameter(torch.ones(2))
    optimizer = torch.optim.Adam([parameter])
    parameter.square().sum().backward()
    optimizer.step()
    torch.save(optimizer.state_dict(), path)


def converted(path: Path) -> None:
    torch.save({"a": torch.randn(100, 100, generator=torch.Generator().manual_seed(0))}, path)
    path.write_bytes(path.read_bytes().replace(b"\r\n", b"\n").replace(b"\n", b"\r\n"))


def decoded(path: Path) -> None:
    torch.save({"a": torch.randn(50, 50, generator=torch.Generator().manual_seed(0))}, path)
    path.write_bytes(path.read_bytes().decode("utf-8", "replace").encode())


def deflated(path: Path) -> None:
    torch.save({"a": torch.zeros(5_000_000)}, path)
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(name, content)


def other_archive(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("word/document.xml", "<w/>")


def two_archives(path: Path) -> None:
    contents = []
    for content in ({"a": torch.ones(2)}, TENSORS):
        buffer = io.BytesIO()
        torch.save(content, buffer)
        contents.append(buffer.getvalue())
    path.write_bytes(b"".join(contents))


def script(path: Path) -> None:
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("a/data.pkl", "a/constants.pkl", "a/code/__torch__.py"):
            archive.writestr(name, b"\x80\x02}.")


def tar(path: Path) -> None:
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as archive:
        for name in ("storages", "tensors", "pickle"):
            member = tarfile.TarInfo(name)
            member.size = 4
            archive.addfile(member, io.BytesIO(b"\0\0\0\0"))


def of_bytes(content: bytes) -> Callable[[Path], None]:
    return lambda path: path.write_bytes(content) and None


def of_object(content: Any, **options: Any) -> Callable[[Path], None]:
    return lambda path: torch.save(content, path, **options)


KINDS: dict[str, tuple[Callable[[Path], None], str]] = {
    "lfs": (of_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"), "Git LFS pointer"),
    "html": (of_bytes(b"\n <!doctype html><html>404</html>"), "HTML"),
    "crlf": (converted, "line endings were converted"),
    "text": (decoded, "U+FFFD"),
    "empty": (of_bytes(b""), "empty file"),
    "text file": (of_bytes(b"epoch 1 loss 0.3\n" * 9), "neither a zip archive nor a pickle"),
    "gzip": (of_bytes(b"\x1f\x8b\x08" + b"\0" * 99), "neither a zip archive nor a pickle"),
    "numpy": (of_bytes(b"\x93NUMPY\x01\x00" + b"\0" * 99), "neither a zip archive nor a pickle"),
    "tar": (tar, "neither a zip archive nor a pickle"),
    "optimiser": (optimiser_only, "holds only the state of an optimiser"),
    "losses": (of_object({"loss": [1.0, 0.5], "step": 7}), "holds no tensors (its keys: 'loss', 'step')"),
    "tensor": (of_object(torch.ones(3)), "holds a Tensor; expected a state dict"),
    "list": (of_object([torch.ones(3)]), "holds a list"),
    "module": (of_object(torch.nn.Linear(2, 2)), "a whole-object pickle (it names 'torch.nn.modules.linear.Linear')"),
    "old module": (of_object(torch.nn.Linear(2, 2), _use_new_zipfile_serialization=False), "a whole-object pickle"),
    "numbers": (of_object({"a": torch.ones(2), "b": 3}), "'b' holds a int; expected only tensors under string names"),
    "nameless": (of_object({0: torch.ones(2)}), "0 holds a Tensor; expected only tensors under string names"),
    "sparse": (of_object({"a": torch.eye(3).to_sparse()}), "names 'torch._utils._rebuild_sparse_tensor'"),
    "numpy number": (
        of_object({"a": torch.ones(2), "b": np.float64(3)}),
        "holds NumPy numbers or arrays (it names 'numpy",
    ),
    "numpy and an object": (
        of_object([np.float64(3), torch.nn.Linear(2, 2)]),
        "a whole-object pickle (it names 'torch.nn",
    ),
    "stride bomb": (of_object({"a": torch.zeros(1).expand(10**6, 10**6)}), "claims 4000000000000 bytes but stores 4"),
    "deflated": (deflated, "/data.pkl' is compressed; torch.save never compresses"),
    "another archive": (other_archive, "a zip archive with 0 members data.pkl; expected 1"),
    "two archives": (two_archives, "the archive begins at byte "),
    "program": (script, "a TorchScript program"),
    "pickle": (of_bytes(pickle.dumps({"a": np.zeros(2)})), "holds NumPy numbers or arrays (it names 'numpy"),
    "plain pickle": (of_bytes(pickle.dumps({"a": 1})), "cannot be read as weights"),
    "endless": (of_bytes(b"\x80\x02" + b"N0" * 3_000_000 + b"."), "a pickle of over 1000000 opcodes"),
}


@pytest.mark.parametrize("name", KINDS)
def test_kinds_are_named_in_words(tmp_path: Path, name: str) -> None:
    write, message = KINDS[name]
    path = tmp_path / "weights.pt"
    write(path)
    before, started = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, time.process_time()
    assert message in refusal(path)
    assert time.process_time() - started < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000  # kilobytes
    assert list(tmp_path.iterdir()) == [path]


def test_conversion_is_explained(tmp_path: Path) -> None:
    assert "torch.save({name: tensor" in refusal(saved(tmp_path / "a.pt", torch.nn.Linear(2, 2)))


def test_a_pickle_without_a_layout_is_refused_with_what_to_say(tmp_path: Path) -> None:
    with pytest.raises(
        CheckpointRefused,
        match=r"\(first name: 'a.weight'\) without a layout; give --layout FILE.toml that declares its names; or wrap"
        r" a regression model of another kind by --predictor FILE\.py:function --d-in N, in Python .*from_predictor$",
    ):
        load(saved(tmp_path / "a.pt", TENSORS))


def test_a_storage_that_claims_more_than_the_file(tmp_path: Path) -> None:
    """An old file says how many numbers follow; here it says a hundred billion."""
    for zipped in (True, False):
        path = saved(tmp_path / "a.pt", {"a": torch.ones(1000)}, _use_new_zipfile_serialization=zipped)
        content = path.read_bytes()
        assert b"M\xe8\x03" in content
        path.write_bytes(content.replace(b"M\xe8\x03", b"J\xff\xff\xff\x7f"))
        started, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        refusal(path)
        assert time.perf_counter() - started < 5
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000


def test_paths_that_are_no_files(tmp_path: Path) -> None:
    assert "no such file" in refusal(tmp_path / "absent.pt")
    (tmp_path / "folder.pt").mkdir()
    assert "a directory; expected a file" in refusal(tmp_path / "folder.pt")


@pytest.mark.parametrize("content", [b"\x80\x02", b"\x80\x02" + b"(" * 5000, b"\x80\x02" + b"\x8a\xff" * 40, b"\x80"])
def test_opcodes_that_break_off(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.pt"
    path.write_bytes(content)
    refusal(path)


# ---- damage ----


@pytest.mark.parametrize("zipped", [True, False])
def test_every_truncation_is_refused(tmp_path: Path, rng: np.random.Generator, zipped: bool) -> None:
    path = saved(tmp_path / "a.pt", TENSORS, _use_new_zipfile_serialization=zipped)
    whole = path.read_bytes()
    for end in [*range(40), *rng.integers(40, len(whole), 80)]:
        path.write_bytes(whole[:end])
        refusal(path)
    assert list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("zipped", [True, False])
def test_every_flipped_bit_is_refused_or_seen(tmp_path: Path, rng: np.random.Generator, zipped: bool) -> None:
    """Or it sits in what means nothing (padding, names of members), and the same tensors come back."""
    path = saved(tmp_path / "a.pt", TENSORS, _use_new_zipfile_serialization=zipped)
    whole, refused = path.read_bytes(), []
    for bit in rng.integers(0, 8 * len(whole), 200):
        flipped = bytearray(whole)
        flipped[bit // 8] ^= 1 << (bit % 8)
        path.write_bytes(flipped)
        try:
            found = read_tensors(path)
        except CheckpointRefused as error:
            refused.append(str(error))
        else:
            assert all(isinstance(tensor, Tensor) for tensor in found.values())
    assert len(refused) > 20
    assert all(message.startswith("a.pt: ") and "\n" not in message for message in refused)
    assert list(tmp_path.iterdir()) == [path]


# ---- the files found in public repositories ----


@pytest.mark.skipif(not SHARED.is_dir(), reason="the damaged files found in public repositories are not here")
@pytest.mark.parametrize("layout", [None, "tl-legacy"])
def test_files_found_in_public_repositories_are_refused_by_kind(layout: str | None) -> None:
    said = {
        "crlf-converted.pth": "line endings were converted",
        "lfs-pointer.pt": "Git LFS pointer",
        "lfs-pointer.safetensors": "Git LFS pointer",
        "whole-object-pickle.pth": "names 'transformer_lens.HookedTransformer.HookedTransformer'",
    }
    assert {path.name for path in (SHARED / "damaged").iterdir()} == set(said)
    for name, words in said.items():
        with pytest.raises(CheckpointRefused) as caught:
            load(SHARED / "damaged" / name, layout=layout)
        assert str(caught.value).startswith(f"{name}: ")
        assert words in str(caught.value)
        assert caught.value.exit_code == 3
