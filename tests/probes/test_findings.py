"""Heads have one written form, which is read back by one function; examples are plain rows."""

from __future__ import annotations

from typing import Any

import pytest
from mesascope.probes.findings import Examples, head_from, head_name


def test_a_head_is_read_back_as_it_was_written() -> None:
    assert head_name((3, 5)) == "L3H5"
    for head in ((0, 0), (1, 12), (31, 7)):
        assert head_from(head_name(head)) == head


@pytest.mark.parametrize("name", ["H5", "L3", "l3h5", "L3H5x", "L-1H2", ""])
def test_anything_else_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="is no head; expected L<layer>H<head>, such as L3H5"):
        head_from(name)


@pytest.mark.parametrize(
    ("columns", "rows"),
    [
        (("a", "b"), ((1,),)),
        (("a",), ((1, 2),)),
        (("a",), (([1],),)),
        (("a",), (({"b": 1},),)),
        ((1,), ((1,),)),
    ],
)
def test_examples_are_rows_of_plain_values(columns: Any, rows: Any) -> None:
    with pytest.raises((ValueError, TypeError)):  # in tests types are checked first
        Examples(columns, rows)
    assert Examples(("a", "b", "c", "d"), ((1, 2.5, "x", None),)).rows == ((1, 2.5, "x", None),)
