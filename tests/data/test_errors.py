"""The tree of exceptions, their exit codes, and the names they offer."""

from __future__ import annotations

import pytest
from mesascope.data import CheckpointRefused, MesascopeError, TaskError, UsageError
from mesascope.data.errors import OutputError, nearest


@pytest.mark.parametrize(
    ("error", "base", "exit_code"),
    [
        (UsageError, MesascopeError, 2),
        (TaskError, UsageError, 2),
        (OutputError, UsageError, 2),
        (CheckpointRefused, MesascopeError, 3),
    ],
)
def test_tree_and_exit_codes(error: type[MesascopeError], base: type, exit_code: int) -> None:
    assert issubclass(error, base)
    assert error("…").exit_code == exit_code


def test_a_bad_checkpoint_is_no_usage_error() -> None:
    assert not issubclass(CheckpointRefused, UsageError)


@pytest.mark.parametrize(
    ("name", "valid", "answer"),
    [
        ("lsa-1lyer", {"lsa-1layer", "other"}, "did you mean lsa-1layer?"),
        ("lsa-3layer", {"lsa-1layer", "lsa-2layer"}, "did you mean lsa-2layer or lsa-1layer?"),
        ("zzz", {"b", "a"}, "known: a, b"),
        ("zzz", set(), "there are no valid names"),
    ],
)
def test_nearest(name: str, valid: set[str], answer: str) -> None:
    assert nearest(name, valid) == answer


def test_long_lists_of_names_are_cut_short() -> None:
    answer = nearest("qqq", {f"{number:03}" for number in range(100)})
    assert answer.startswith("known: 000, 001, ")
    assert answer.endswith(", 039, and 60 more")
