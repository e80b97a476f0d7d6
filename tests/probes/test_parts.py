"""Parts that last as long as a run: each is asked for once, and lies in memory as one that was read from a file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from mesascope.probes.measure import without_interval
from mesascope.probes.parts import Parts, settled


class Pair(NamedTuple):
    first: Any
    second: Any


@dataclass(frozen=True)
class Seen:
    heads: dict[str, np.ndarray]
    z: torch.Tensor


def test_a_part_is_made_once_for_each_that_asks() -> None:
    made: list[int] = []

    def make() -> int:
        made.append(len(made))
        return made[-1]

    kept = Parts()
    assert (kept.made("a", make), kept.made("b", make), kept.holds("a")) == (0, 1, False)
    kept.put("c", 7)
    assert kept.holds("c")
    assert kept.made("c", make) == 7
    assert made == [0, 1]
    assert not kept.holds("c")  # it is held once, by whoever asked for it


def test_nothing_is_kept_of_what_fails() -> None:
    kept = Parts()

    def fails() -> int:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        kept.made("a", fails)
    assert kept.made("a", lambda: 3) == 3


def turned() -> np.ndarray:
    return np.arange(6.0).reshape(2, 3).T


def arrays_of(value: Any) -> Iterator[np.ndarray | torch.Tensor]:
    if isinstance(value, np.ndarray | torch.Tensor):
        yield value
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, tuple | list) else ():
        yield from arrays_of(inner)


def test_arrays_lie_in_memory_as_those_that_were_read() -> None:
    part = {
        "turned": turned(),
        "every other": np.arange(10.0)[::2],
        "spread": np.broadcast_to(np.array(2.0), (2, 2)),
        "one number": np.array(5.0),
        "tensor": torch.arange(6).reshape(2, 3).T,
        "nested": [(turned(), 1), Pair(turned(), "x")],
    }
    found = settled(part)
    for array, own in zip(arrays_of(found), arrays_of(part), strict=True):
        assert tuple(array.shape) == tuple(own.shape)
        assert (np.asarray(array) == np.asarray(own)).all()
        assert np.asarray(array).flags.c_contiguous
    assert isinstance(found["nested"][1], Pair)


def test_so_do_those_of_dataclasses_and_measures() -> None:
    seen = settled(Seen({"a": turned()}, torch.ones(2, 3).T))
    assert seen.heads["a"].flags.c_contiguous
    assert seen.z.is_contiguous()
    measure = settled(without_interval(turned(), "nat", ("layer", "head"), message="one", no_nulls="none"))
    assert measure.values.flags.c_contiguous
    assert measure.values.tolist() == turned().tolist()
    assert measure.axes == ("layer", "head")
