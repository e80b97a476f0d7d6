"""Typed settings: what is read from text, from files and from Python, and what is said of everything else."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

import pytest
from annotated_types import Ge, Gt, Le
from mesascope.data.errors import CheckpointRefused, UsageError
from mesascope.data.setting_text import guess, items, pairs, readings, written
from mesascope.data.settings import check_settings, expected, read_settings, setting_text


@dataclass(frozen=True)
class Settings:
    """One setting of every kind that occurs."""

    path: str
    repeats: Annotated[int, Ge(2)] = 2
    periods: int | tuple[Annotated[int, Ge(2)], ...] | None = None
    ablate: Literal["auto", "all", "called", "none"] = "auto"
    level: Annotated[float, Ge(1e-4), Le(1)] = 0.05
    rate: Annotated[float, Gt(0)] | None = None
    shift: float = 0.0
    names: tuple[str, ...] = ()
    switch: bool = False
    facts: Mapping[str, Any] = field(default_factory=dict)


def read(name: str, value: Any, text: bool = True) -> Any:
    return getattr(read_settings(Settings, {"path": "x", name: value}, text=text), name)


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("repeats", "3", 3),
        ("periods", "20", 20),
        ("periods", "20,30", (20, 30)),
        ("periods", "[20, 30]", (20, 30)),
        ("periods", "none", None),
        ("periods", "Null", None),
        ("ablate", "none", "none"),
        ("ablate", "all", "all"),
        ("level", "1", 1.0),
        ("level", "1e-3", 0.001),
        ("shift", "-0.5", -0.5),
        ("shift", "-2", -2.0),
        ("rate", "null", None),
        ("path", "5", "5"),
        ("path", "none", "none"),
        ("path", " a,b [1].txt", " a,b [1].txt"),
        ("path", '"quoted"', "quoted"),
        ("path", '"half', '"half'),
        ("names", "a,b", ("a", "b")),
        ("names", "a", ("a",)),
        ("names", "1,none", ("1", "none")),
        ("names", '["a,b", c]', ("a,b", "c")),
        ("names", "[]", ()),
        ("switch", "true", True),
        ("switch", "False", False),
    ],
)
def test_text_is_read_as_the_type_of_the_setting(name: str, text: str, value: Any) -> None:
    found = read(name, text)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("name", "given", "value"),
    [("periods", [20, 30], (20, 30)), ("level", 1, 1.0), ("names", ["none"], ("none",)), ("path", "none", "none")],
)
def test_values_of_a_file_keep_what_they_are(name: str, given: Any, value: Any) -> None:
    found = read(name, given, text=False)
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("repeats", "1", "probe: repeats = 1; expected a whole number of at least 2"),
        ("repeats", "ten", "repeats = 'ten'; expected a whole number of at least 2"),
        ("repeats", "2.0", "repeats = 2.0; expected a whole number"),
        ("repeats", "[2]", "repeats = [2]; expected a whole number"),
        ("repeats", True, "repeats = True; expected a whole number"),
        ("periods", "20,1", "periods = '20,1'; expected a whole number, a list of whole numbers of at least 2 or none"),
        ("ablate", "calld", "ablate = 'calld'; expected auto, all, called or none; did you mean called"),
        ("ablate", "zzz", "ablate = 'zzz'; expected auto, all, called or none"),
        ("level", "nan", "level = nan; expected a number from 0.0001 to 1"),
        ("level", "2", "level = 2; expected a number from 0.0001 to 1"),
        ("rate", "0", "rate = 0; expected a number above 0 or none"),
        ("shift", "inf", "shift = inf; expected a number"),
        ("shift", "1e400", "shift = inf; expected a number"),
        ("shift", 10**400, "expected a number"),
        ("shift", False, "shift = False; expected a number"),
        ("switch", "1", "switch = 1; expected true or false"),
        ("facts", "3", "facts = 3; expected values by name"),
        ("repeat", "3", "probe: 'repeat' is not known; did you mean repeats"),
    ],
)
def test_other_values_are_refused_with_what_would_be_right(name: str, value: Any, said: str) -> None:
    with pytest.raises(UsageError, match=re.escape(said)) as caught:
        read_settings(Settings, {"path": "x", name: value}, "probe: ", text=True)
    assert "\n" not in str(caught.value)


def test_a_setting_without_a_default_has_to_be_given() -> None:
    with pytest.raises(CheckpointRefused, match="config: path is missing; expected text"):
        read_settings(Settings, {}, "config: ", refused=CheckpointRefused)


def test_an_instance_is_checked_where_it_is_made() -> None:
    made = Settings("x", periods=[20, 30], shift=2)  # type: ignore[arg-type]
    check_settings(made)
    assert (made.periods, made.shift) == ((20, 30), 2.0)
    assert type(made.shift) is float
    with pytest.raises(UsageError, match="probe: repeats = 1; expected"):
        check_settings(Settings("x", repeats=1), "probe: ")


@pytest.mark.parametrize(
    "value",
    [
        *("none", "5", "a,b", " a b ", '"q', "[x]", "héllo", None, True, False, -3, -0.5, 1e-30),
        *((), (1, 2), ((1, 2), (3,)), ("a,b", "", " c", "none", "5", "d=e", "[f]")),
    ],
)
def test_what_is_written_is_read_back(value: Any) -> None:
    found = next(reading for reading in readings(written(value)) if type(reading) is type(value))
    assert found == value


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("ablate", "none", "none"),
        ("path", "my file, no 2.txt", "my file, no 2.txt"),
        ("path", '"quoted"', r'"\"quoted\""'),
        ("names", ("a,b", "c"), '["a,b",c]'),
        ("periods", (20, 30), "[20,30]"),
        ("rate", None, "none"),
        ("shift", -0.5, "-0.5"),
    ],
)
def test_a_setting_is_written_as_it_is_read(name: str, value: Any, text: str) -> None:
    assert setting_text(Settings, name, value) == text
    assert read(name, text) == value


def test_without_a_type_a_text_is_guessed() -> None:
    text = 'a=1,b=0.5,c=[20,30],d=gd+gdpp,e=true, f=none,g-h=x=y,i="1,2"'
    expected = {"a": 1, "b": 0.5, "c": (20, 30), "d": "gd+gdpp", "e": True, "f": None, "g_h": "x=y", "i": "1,2"}
    found = pairs(text)
    assert found == expected
    assert [type(value) for value in found.values()] == [type(value) for value in expected.values()]
    assert pairs(written(found)) == found
    assert (type(guess("2")), type(guess("2.0"))) == (int, float)


def test_pairs_need_names() -> None:
    assert pairs("") == {}
    with pytest.raises(UsageError, match="'tied' has no name; expected name=value"):
        pairs("a=1,tied")


def test_commas_within_brackets_and_quotes_separate_nothing() -> None:
    assert items('a, "b,c" ,[d,e],,') == ["a", '"b,c"', "[d,e]"]


def test_types_are_said_in_words() -> None:
    assert expected(tuple[Literal["pdf", "svg"], ...]) == "a list of pdf or svg"
    assert expected(float | None) == "a number or none"


def test_reading_settings_waits_with_pydantic() -> None:
    code = "import sys, mesascope.data.settings; sys.exit('pydantic' in sys.modules or 'numpy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
