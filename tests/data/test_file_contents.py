"""What a user's file holds: where JSON and tables have more than one meaning, and where that is an error."""

from __future__ import annotations

import pytest
from mesascope.data import TaskError
from mesascope.data.file_contents import columns_and_rows, json_lines, parsed


def test_only_strict_json_has_one_meaning() -> None:
    assert parsed("here", '{"a": 1, "a": 2}') == {"a": 2}
    assert str(parsed("here", "NaN")) == "nan"
    for text, said in (
        ('{"a": 1, "a": 2}', "here: not JSON (the key 'a' occurs twice)"),
        ("[NaN]", "NaN is no number"),
    ):
        with pytest.raises(TaskError) as refused:
            parsed("here", text, strict=True)
        assert said in str(refused.value)


def test_lines_have_their_numbers() -> None:
    assert list(json_lines("here", "1\n\n[2]\n")) == [("here, line 1", 1), ("here, line 3", [2])]
    with pytest.raises(TaskError, match="here, line 2: not JSON"):
        list(json_lines("here", '1\n{"a": 1, "a": 2}', strict=True))


def test_quotation_marks_of_tables() -> None:
    columns, rows = columns_and_rows("here", 'a\tb\n"x\ty\n', "\t")
    assert columns == ["a", "b"]
    assert list(rows) == [{"a": "x\ty\n", "b": None}]
    assert list(columns_and_rows("here", 'a,b\r\n"x\r\nz",y\r\n')[1]) == [{"a": "x\r\nz", "b": "y"}]
    with pytest.raises(TaskError, match=r"here, line 2: no row of a table \(unexpected end of data\)"):
        list(columns_and_rows("here", 'a\tb\n"x\ty\n', "\t", strict=True)[1])
    with pytest.raises(TaskError, match="here, header: no row of a table"):
        columns_and_rows("here", '"a', strict=True)
    assert columns_and_rows("here", "")[0] == []
