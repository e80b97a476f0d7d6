"""Tables in files: three formats say the same, and what YAML has beyond them is refused."""

from __future__ import annotations

from pathlib import Path

import pytest
from mesascope.data.errors import UsageError
from mesascope.data.setting_files import read_tables

SAME = {
    "a.toml": 'rate = 1e-4\nname = "x"\nseeds = [1, 2]\nquiet = true\n[model]\nn_heads = 4\nscale = 0.5\n',
    "a.yaml": "rate: 1e-4\nname: x\nseeds: [1, 2]\nquiet: true\nmodel:\n  n_heads: 4\n  scale: 0.5\n",
    "a.yml": '{"rate": 1e-4, "name": "x", "seeds": [1, 2], "quiet": true, "model": {"n_heads": 4, "scale": 0.5}}',
    "a.json": '{"rate": 1e-4, "name": "x", "seeds": [1, 2], "quiet": true, "model": {"n_heads": 4, "scale": 0.5}}',
    "a": 'rate = 1e-4\nname = "x"\nseeds = [1, 2]\nquiet = true\nmodel = {n_heads = 4, scale = 0.5}\n',
}


@pytest.mark.parametrize(("name", "text"), SAME.items())
def test_all_formats_say_the_same(tmp_path: Path, name: str, text: str) -> None:
    path = tmp_path / name
    path.write_text(text)
    expected = {"rate": 1e-4, "name": "x", "seeds": [1, 2], "quiet": True, "model": {"n_heads": 4, "scale": 0.5}}
    assert read_tables(path) == expected


@pytest.mark.parametrize(
    ("text", "number"),
    [("1e-4", 1e-4), ("-2.5E3", -2500.0), (".5e+1", 5.0), ("7", 7), ("e5", "e5"), ("1e", "1e"), ("~", None)],
)
def test_a_number_of_yaml_is_one_with_and_without_a_point(tmp_path: Path, text: str, number: object) -> None:
    (tmp_path / "a.yaml").write_text(f"value: {text}\n")
    found = read_tables(tmp_path / "a.yaml")["value"]
    assert (found, type(found)) == (number, type(number))


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (
            "a.yaml",
            "a: !!python/object/apply:os.mkdir [made]",
            "not YAML (could not determine a constructor for the tag",
        ),
        ("a.yaml", "a: !!python/name:os.system", "not YAML (could not determine a constructor for the tag"),
        ("a.yaml", "a: &one [1]\nb: [*one, *one]", "not YAML (an alias in line 2; expected the value itself)"),
        ("a.yaml", "a: &one [*one]", "not YAML (an alias in line 1"),
        ("a.yaml", "a: 1\nb:\n  c: 1\n  c: 2", "not YAML (the key 'c' occurs twice)"),
        ("a.json", '{"a": 1, "a": 2}', "not JSON (the key 'a' occurs twice)"),
        ("a.toml", "a = 1\na = 2", "not TOML ("),
        ("a.yaml", "a: 1\n---\na: 2", "not YAML (expected a single document"),
        ("a.yaml", "a: [", "not YAML (while parsing"),
        ("a.yaml", "a: " + "[" * 3000, "not YAML (maximum recursion depth"),
        ("a.yaml", "{[1]: 2}", "not YAML (while constructing a mapping"),
        ("a.yaml", "1: 2", "holds other names than text"),
        ("a.yaml", "", "holds nothing"),
        ("a.json", "[1]", "holds a list"),
    ],
)
def test_what_is_no_table_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, text: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    Path(name).write_text(text)
    with pytest.raises(UsageError) as caught:
        read_tables(Path(name))
    assert str(caught.value).startswith(f"{name}: {said}")
    assert str(caught.value).endswith("expected settings by name")
    assert "\n" not in str(caught.value)
    assert not Path("made").exists(), "a tag made something happen"


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"absent\.yaml: cannot be read \(No such file or directory\); check the path"):
        read_tables(tmp_path / "absent.yaml")
