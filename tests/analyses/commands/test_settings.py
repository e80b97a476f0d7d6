"""Settings of a probe as they come from the command line or a file, in the types that its fields declare."""

from __future__ import annotations

import re
from typing import Any

import pytest
from mesascope.analyses.commands.run_command import fitted
from mesascope.data.errors import UsageError
from mesascope.probes import InductionHeads


@pytest.mark.parametrize(
    ("setting", "value", "expected"),
    [
        ("periods", [20, 30], [20, 30]),
        ("periods", 20, 20),
        ("level", 1, 1.0),
        ("text", 5, "5"),
        ("limit", None, None),
    ],
)
def test_a_setting_is_taken_in_one_of_its_types(setting: str, value: Any, expected: Any) -> None:
    found = fitted(InductionHeads(), setting, value)
    assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    ("setting", "value", "words"),
    [
        ("periods", [20, "x"], "[int, …] or int or none"),
        ("periods", 2.5, "[int, …] or int or none"),
        ("repeats", [2], "expected int"),
        ("repeats", True, "expected int"),
        ("limit", "many", "int or none"),
    ],
)
def test_a_setting_of_another_type_is_refused(setting: str, value: Any, words: str) -> None:
    with pytest.raises(UsageError, match=re.escape(words)):
        fitted(InductionHeads(), setting, value)
