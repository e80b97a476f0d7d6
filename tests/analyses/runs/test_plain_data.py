"""Parts as files: every value comes back bit for bit, a damaged byte is noticed, and nothing is run."""

from __future__ import annotations

import io
import pickle
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from mesascope.analyses.runs.plain_data import read_plain, write_plain
from mesascope.data.errors import TaskError
from mesascope.data.recipe import Recipe
from mesascope.probes.findings import Examples
from mesascope.probes.measure import Measure, along, missing, without_interval


class Pair(NamedTuple):
    first: Any
    second: Any


@dataclass(frozen=True)
class Seen:
    heads: dict[str, np.ndarray]
    z: Any


def saved(path: Path, value: Any, kinds: tuple[type, ...] = (Pair, Seen)) -> Path:
    with path.open("wb") as file:
        write_plain(value, file, kinds)
    return path


def again(folder: Path, value: Any) -> Any:
    return read_plain(saved(folder / "part.npz", value), (Pair, Seen))


def same(one: Any, other: Any) -> bool:
    """Type by type and bit by bit: NaN is NaN, and 0.0 is not -0.0."""
    if type(one) is not type(other):
        return False
    if isinstance(one, np.ndarray | np.generic | torch.Tensor):
        a, b = np.asarray(one), np.asarray(other)
        return (a.dtype, a.shape, a.tobytes()) == (b.dtype, b.shape, b.tobytes())
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, tuple | list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, Measure | Seen | Recipe | Examples):
        return same(vars(one), vars(other))
    return repr(one) == repr(other)


VALUES = {
    "nothing": None,
    "numbers": [True, False, 0, -3, 2**70, 0.1, -0.0, 1e-310, float("nan"), float("inf"), float("-inf")],
    "texts": ["", "ä\n\x00", "\ud800", "tree", '{"kind": "Measure"}'],
    "nested": ({"a": (1, [2, (3,)])}, {(0, 1): {}, 5: None, "x": ()}),
    "named": Pair(np.float64(1.5), Seen({"b": np.zeros((0, 3)), "a": np.ones(2, dtype=np.float32)}, Pair(1, 2))),
    "scalars": [np.float64(0.1), np.float32(0.1), np.int64(7), np.bool_(True)],
    "arrays": [
        np.array([np.nan, -0.0, np.inf, 5e-324, 1 / 3]), np.arange(4, dtype=np.int32).reshape(2, 2), np.array(2.0),
        np.array(["a", "bc"]), np.zeros((2, 0, 3)), np.array([1 + 2j]), np.array([True]),
    ],
    "tensors": [torch.arange(6, dtype=torch.float64).reshape(2, 3), torch.zeros(0, 2), torch.tensor(3)],
    "measure": without_interval(np.array([[0.1, np.nan]]), "nat", ("layer", "head"), message="one", no_nulls="no"),
    "none": missing("nat", "undefined", "nothing there"),
    "stacked": along("step", {np.int64(3): missing("nat", "undefined", "a"), 7: missing("nat", "undefined", "b")}),
    "nulls": Measure(
        np.array(0.1), "nat", (np.array(-np.inf), np.array(np.nan)), "task", 3, nulls={"x": np.array([0.1, np.nan])},
        points=np.ones(3), message="half an interval",
    ),
    "examples": Examples(("a", "b"), (("x", 0.1), (None, float("nan")))),
    "recipe": Recipe("text", {"file": "a.txt", "limit": None}, 0, 3, "00"),
}  # fmt: skip


@pytest.mark.parametrize("name", VALUES)
def test_values_come_back_bit_for_bit(name: str, tmp_path: Path) -> None:
    assert same(again(tmp_path, VALUES[name]), VALUES[name])


def test_arrays_can_be_written_to_and_bytes_are_the_same_each_time(tmp_path: Path) -> None:
    found = again(tmp_path, {"a": np.zeros(3)})
    found["a"][0] = 1
    one, other = saved(tmp_path / "one.npz", VALUES), saved(tmp_path / "other.npz", VALUES)
    assert one.read_bytes() == other.read_bytes()


class Odd:
    """Runs something when it is unpickled."""

    def __reduce__(self) -> Any:
        return (print, ("unpickled",))


@pytest.mark.parametrize(
    "value", [Odd(), {"a": [Odd()]}, np.array([Odd()]), {1, 2}, b"bytes", lambda: None, type("Str", (str,), {})("x")]
)
def test_other_data_are_refused_when_written(value: Any, tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="expected"):
        saved(tmp_path / "part.npz", value)


def test_a_dataclass_that_nobody_named_is_neither_written_nor_read(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="part_kinds"):
        saved(tmp_path / "part.npz", Pair(1, 2), kinds=())
    path = saved(tmp_path / "part.npz", Seen({}, 1))
    with pytest.raises(TaskError, match="not plain data"):
        read_plain(path, (Pair,))


def test_every_damaged_byte_is_noticed_or_changes_nothing(tmp_path: Path) -> None:
    value = {"a": np.arange(3.0), "words": "hello"}
    whole = saved(tmp_path / "part.npz", value).read_bytes()
    damaged, unnoticed = tmp_path / "damaged.npz", 0
    for place in range(len(whole)):
        damaged.write_bytes(whole[:place] + bytes([whole[place] ^ 0x41]) + whole[place + 1 :])
        try:
            assert same(read_plain(damaged), value)  # a time stamp, say
            unnoticed += 1
        except TaskError:
            pass
    assert 0 < unnoticed < len(whole) / 2
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        damaged.write_bytes(whole[:length])
        with pytest.raises(TaskError):
            read_plain(damaged)


def test_nothing_in_a_file_is_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "objects.npz", tree=np.array([Odd()], dtype=object))
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps(Odd()))
    with zipfile.ZipFile(tmp_path / "tree.npz", "w") as archive:
        for name, tree in (("tree", b'{"kind": "print", "fields": {"x": 1}}'),):
            np.save(held := io.BytesIO(), np.frombuffer(tree, dtype=np.uint8))
            archive.writestr(f"{name}.npy", held.getvalue())
    for name in ("objects", "pickle", "tree"):
        with pytest.raises(TaskError):
            read_plain(tmp_path / f"{name}.npz")
    assert capsys.readouterr().out == ""
