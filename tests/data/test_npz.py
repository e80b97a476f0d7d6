"""Files of arrays from strangers: read as they are, or refused in one line; never run, never unpacked without bound."""

from __future__ import annotations

import io
import struct
import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pytest
from mesascope.data import CheckpointRefused, MesascopeError, TaskError
from mesascope.data.npz import read_npz


class Canary:
    """Unpickling this would write a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, tuple[Path]]:
        return Path.touch, (self.path,)


def write_zip(path: Path, members: dict[str, bytes], compression: int = zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return path


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=True)
    return buffer.getvalue()


def refusal(path: Path) -> str:
    with pytest.raises(TaskError) as caught:
        read_npz(path, TaskError)
    message = str(caught.value)
    assert "\n" not in message
    assert path.name in message
    return message


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_arrays_come_back(tmp_path: Path, save: object, rng: np.random.Generator) -> None:
    arrays = {"a/b": rng.normal(size=(3, 4)), "c": np.arange(5, dtype=np.int32), "d": np.asfortranarray(np.eye(3))}
    assert callable(save)
    save(tmp_path / "a.npz", **arrays)
    read = read_npz(tmp_path / "a.npz", TaskError)
    assert set(read) == set(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array, strict=True)


@pytest.mark.parametrize("order", ["<", ">"])
def test_either_byte_order(tmp_path: Path, order: str) -> None:
    np.savez(tmp_path / "a.npz", a=np.arange(3.0).astype(f"{order}f4"))
    array = read_npz(tmp_path / "a.npz", TaskError)["a"]
    assert array.tolist() == [0.0, 1.0, 2.0]
    assert array.dtype.isnative


def test_the_kind_of_refusal_is_the_callers(tmp_path: Path) -> None:
    for refuse in (TaskError, CheckpointRefused):
        with pytest.raises(refuse, match="no such file"):
            read_npz(tmp_path / "absent.npz", refuse)
    assert not issubclass(TaskError, CheckpointRefused)
    assert issubclass(TaskError, MesascopeError)


def test_a_pickle_is_not_executed(tmp_path: Path) -> None:
    canary, path = tmp_path / "canary", tmp_path / "hostile.npz"
    np.savez(path, a=np.array([Canary(canary)], dtype=object))
    assert "pickle" in refusal(path)
    assert not canary.exists()
    assert np.load(path, allow_pickle=True)["a"].shape == (1,)  # the canary works: unpickling does run it
    assert canary.exists()


@pytest.mark.parametrize("n_members", [1, 10])
def test_a_bomb_is_not_unpacked(tmp_path: Path, n_members: int) -> None:
    """80 MB of zeros in 80 kB, in one member or in ten; what is always allowed is less."""
    zeros = npy(np.zeros(10_000_000 // n_members))
    path = write_zip(
        tmp_path / "bomb.npz", {f"a{i}.npy": zeros for i in range(n_members)}, compression=zipfile.ZIP_DEFLATED
    )
    del zeros
    assert path.stat().st_size < 100_000
    tracemalloc.start()
    assert "unpack to 800" in refusal(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 5_000_000


@pytest.mark.parametrize("shape", ["(1000000, 1000000)", "(-1,)", "(9223372036854775807,)", "(1.5,)", "()" * 3000])
def test_a_header_that_promises_what_is_not_there(tmp_path: Path, shape: str) -> None:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    content = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + b"\0" * 80
    refusal(write_zip(tmp_path / "promise.npz", {"a.npy": content}))


def test_honest_arrays_compress_too(tmp_path: Path, rng: np.random.Generator) -> None:
    """Signs in float64 shrink more than twentyfold; that is no bomb."""
    signs = rng.choice([-1.0, 1.0], size=(5_000, 11, 11))
    np.savez_compressed(tmp_path / "signs.npz", inputs=signs)
    assert (tmp_path / "signs.npz").stat().st_size * 20 < signs.nbytes
    np.testing.assert_array_equal(read_npz(tmp_path / "signs.npz", TaskError)["inputs"], signs)


@pytest.mark.parametrize(
    "content", [b"", b"not a zip", b"PK\x03\x04", b"PK\x05\x06" + b"\0" * 17, b"version https://git-lfs\n"]
)
def test_what_is_no_zip(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "a.npz").write_bytes(content)
    refusal(tmp_path / "a.npz")


def test_a_directory_or_a_bare_npy(tmp_path: Path) -> None:
    (tmp_path / "a.npz").mkdir()
    refusal(tmp_path / "a.npz")
    (tmp_path / "b.npz").write_bytes(npy(np.zeros(3)))
    refusal(tmp_path / "b.npz")


def test_members_that_are_no_arrays(tmp_path: Path) -> None:
    assert "'readme.txt' is not an array" in refusal(write_zip(tmp_path / "a.npz", {"readme.txt": b"hello"}))
    assert "arrays have the same name" in refusal(
        write_zip(tmp_path / "b.npz", {"a": npy(np.zeros(1)), "a.npy": npy(np.ones(1))})
    )


def test_every_truncation_and_bit_flip_is_refused_or_harmless(tmp_path: Path, rng: np.random.Generator) -> None:
    """The zip's checksum sees every change of the data; a change elsewhere either matters, and is refused, or not."""
    array = rng.normal(size=(4, 5))
    path = tmp_path / "a.npz"
    np.savez(path, a=array)
    whole = path.read_bytes()
    variants = [whole[:end] for end in range(0, len(whole), 3)]
    for _ in range(200):
        flipped = bytearray(whole)
        flipped[rng.integers(len(whole))] ^= 1 << rng.integers(8)
        variants.append(bytes(flipped))
    messages = []
    for variant in variants:
        path.write_bytes(variant)
        try:
            read = read_npz(path, TaskError)
        except TaskError as error:
            messages.append(str(error))
            continue
        assert all(np.array_equal(value, array) for value in read.values())
    assert len(messages) > len(variants) - 100
    assert all(message.startswith("a.npz: ") and "\n" not in message for message in messages)


def test_a_list_of_members_that_would_fill_the_memory_is_refused(tmp_path: Path) -> None:
    """A zip's list of members may claim a million that are nowhere."""
    member = b"PK\x01\x02" + b"\0" * 24 + struct.pack("<HHH", 1, 0, 0) + b"\0" * 12 + b"x"
    members = member * 200_000
    end = b"PK\x05\x06" + struct.pack("<HHHHIIH", 0, 0, 0xFFFF, 0xFFFF, len(members), 0, 0)
    (tmp_path / "many.npz").write_bytes(members + end)
    tracemalloc.start()
    try:
        assert "the list of members takes 9400000 bytes; expected at most" in refusal(tmp_path / "many.npz")
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
    finally:
        tracemalloc.stop()
