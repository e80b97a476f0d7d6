"""Files of examples: every format says the same, and what is not meant so is refused in words."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import datasets
import pytest
from mesascope.data import TaskError
from mesascope.data.few_shot.examples import Example
from mesascope.data.few_shot.reading import LARGEST, read_examples

PAIRS = [("a cat, asleep", "animal"), ('say "ah"\nagain', "thing"), ("é", "animal")]
RECORDS = [{"input": given, "output": told} for given, told in PAIRS]


def written(path: Path, content: Any) -> Path:
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def lines(*records: Any) -> str:
    return "".join(json.dumps(record) + "\n" for record in records)


def test_every_format_says_the_same(tmp_path: Path) -> None:
    files = [
        written(tmp_path / "a.json", json.dumps(RECORDS)),
        written(tmp_path / "a.jsonl", "\ufeff" + lines(RECORDS[0]) + "\n \n" + lines(*RECORDS[1:])),
    ]
    with (tmp_path / "a.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("input", "number", "output"), *((x, 1, y) for x, y in PAIRS)])
    features = datasets.Features(
        {"input": datasets.Value("string"), "output": datasets.ClassLabel(names=["thing", "animal"])}
    )
    table = datasets.Dataset.from_list([{**record, "output": record["output"]} for record in RECORDS], features)
    table.to_parquet(tmp_path / "a.parquet")
    table.save_to_disk(tmp_path / "saved")
    for path in [*files, tmp_path / "a.csv", tmp_path / "a.parquet", tmp_path / "saved"]:
        found = read_examples(path)
        assert found.examples == tuple(Example(*pair) for pair in PAIRS), path.name
        assert found.name == path.name
        assert not found.of_tokens
    assert len({read_examples(path).sha256 for path in [*files, tmp_path / "saved"]}) == 1


def test_the_digest_is_of_all_that_is_said(tmp_path: Path) -> None:
    record = {"input": "a", "output": "x", "options": ["x", "y"], "task": "t"}
    others = [{"input": "b"}, {"output": "y"}, {"options": ["y", "x"]}, {"options": []}, {"task": "u"}]
    said = [record, *(record | other for other in others)]
    found = [read_examples(written(tmp_path / "a.jsonl", lines(one))) for one in said]
    assert found[0].examples == (Example("a", "x", ("x", "y"), "t"),)
    assert found[4].examples == (Example("a", "x", None, "t"),)
    assert len({one.sha256 for one in found}) == len(said)


def test_columns_have_names_of_their_own(tmp_path: Path) -> None:
    path = written(tmp_path / "a.tsv", 'text\tlabel\tinput\nI say "ah"\tgood\t1\n')
    assert read_examples(path, ("text", "label")).examples == (Example('I say "ah"', "good"),)


def test_lines_end_at_line_ends_alone(tmp_path: Path) -> None:
    """U+2028 ends no line, neither in a cell nor in a string of JSON."""
    for name, content in (("a.csv", "input,output\na\u2028b,x\n"), ("a.jsonl", '{"input": "a\u2028b", "output": "x"}')):
        assert read_examples(written(tmp_path / name, content)).examples == (Example("a\u2028b", "x"),)


def test_token_ids(tmp_path: Path) -> None:
    path = written(tmp_path / "a.jsonl", lines({"input": [3, 17], "output": [70], "options": [[70], [71, 2]]}))
    found = read_examples(path)
    assert found.of_tokens
    assert found.examples == (Example((3, 17), (70,), ((70,), (71, 2))),)


GOOD = {"input": "a", "output": "x"}
BAD: dict[str, tuple[str, Any, str]] = {
    "missing": ("a.json", None, "a.json: no such file; check the path"),
    "a folder": ("", None, "a folder without state.json; expected one that datasets.Dataset.save_to_disk wrote"),
    "ending": ("a.xlsx", "x", "'.xlsx' is none of .json, .jsonl, .csv, .tsv, .parquet, nor a folder"),
    "no ending": ("a", "x", "a file without an ending is none of"),
    "lm-eval": ("a.yaml", "task: x", "a.yaml: a task of lm-eval holds templates and code, which mesascope does"),
    "not UTF-8": ("a.jsonl", '{"input": "ä"}'.encode("latin-1"), "byte 11 is not UTF-8; expected UTF-8 text"),
    "not JSON": ("a.jsonl", lines(GOOD) + '{"input"', "a.jsonl, line 2: not JSON (Expecting ':' delimiter"),
    "deep": ("a.json", "[" * 100_000, "a.json: not JSON (maximum recursion depth exceeded"),
    "twice": ("a.jsonl", '{"input": "a", "input": "b", "output": "x"}', "line 1: not JSON (the key 'input' occurs"),
    "twice within": ("a.json", '[{"input": "a", "output": "x", "more": {"b": 1, "b": 2}}]', "the key 'b' occurs twice"),
    "NaN": ("a.json", '[{"input": "a", "output": NaN}]', "a.json: not JSON (NaN is no number of JSON)"),
    "-Infinity": ("a.jsonl", '{"input": "a", "output": -Infinity}', "line 1: not JSON (-Infinity is no number"),
    "an object": ("a.json", json.dumps(GOOD), 'holds a dict; expected a list of {"input": …, "output": …}'),
    "no record": ("a.json", '["a"]', 'a.json, example 1: "a" is no example; expected {"input": "…", "output": "…"}'),
    "nothing": ("a.jsonl", "\n", 'a.jsonl: no example; expected lines of {"input": "…", "output": "…"}'),
    "nothing in a list": ("a.json", "[]", "a.json: no example"),
    "no output": ("a.jsonl", lines({"input": "a", "ouput": "x"}), "no column 'output'; did you mean ouput or input?; "),
    "empty input": ("a.jsonl", lines({"input": " \n", "output": "x"}), "line 1: input is empty; expected text"),
    "empty tokens": ("a.jsonl", lines({"input": [], "output": [1]}), "line 1: input is empty"),
    "no text": ("a.jsonl", lines({"input": "a", "output": None}), "line 1: output is empty"),
    "a number": ("a.jsonl", lines({"input": "a", "output": 1}), "output is the number 1; expected text (the class"),
    "true": ("a.jsonl", lines({"input": "a", "output": True}), "output is the number True"),
    "an object within": ("a.jsonl", lines({"input": {"b": 1}, "output": "x"}), "input is {'b': 1}; expected text"),
    "halves of tokens": ("a.jsonl", lines({"input": [1.5], "output": [1]}), "input is [1.5]; expected text, or a list"),
    "true tokens": ("a.jsonl", lines({"input": [True], "output": [1]}), "input is [True]; expected text, or a list"),
    "below 0": ("a.jsonl", lines({"input": [-1], "output": [1]}), "input is [-1]; expected text, or a list of"),
    "two kinds": ("a.jsonl", lines({"input": "a", "output": [1]}), "the input is text, and the output is token ids"),
    "two kinds of lines": (
        "a.jsonl",
        lines(GOOD, {"input": [1], "output": [1]}),
        "example 1 is text, and example 2 is token ids; expected text in all",
    ),
    "none of its options": (
        "a.jsonl",
        lines(GOOD | {"options": ["y", "z"]}),
        "line 1: the output 'x' is none of its options, 'y', 'z'",
    ),
    "no options": ("a.jsonl", lines(GOOD | {"options": "xy"}), "options = 'xy'; expected a list of outputs"),
    "options twice": ("a.jsonl", lines(GOOD | {"options": ["x", "y", "x"]}), "the option 'x' occurs twice"),
    "a task of two lines": ("a.jsonl", lines(GOOD | {"task": "a\nb"}), "task = 'a\\nb'; expected the name of a task"),
    "no task": ("a.jsonl", lines(GOOD | {"task": 3}), "task = 3; expected the name of a task"),
    "long": ("a.jsonl", lines(GOOD | {"input": "a" * 1_000_001}), "input has 1,000,001 characters; expected"),
    "no header": ("a.csv", "a,x\nb,y\n", "a.csv: no column 'input'; known: a, x; name the columns with --columns"),
    "a name twice": ("a.csv", "input,output,input\na,x,b\n", "the header names 'input' twice"),
    "too many cells": ("a.csv", "input,output\na,x,y\n", "a.csv, row 1: 3 cells; expected 2"),
    "too few cells": ("a.csv", "input,output\na,x\nb\n", "a.csv, row 2: 1 cells; expected 2"),
    "an open mark": ("a.csv", 'input,output\n"a,x\nb,y\n', "a.csv, line 3: no row of a table (unexpected end of data)"),
    "a mark within": ("a.csv", 'input,output\n"a"b,x\n', "a.csv, line 2: no row of a table ("),
    "a mark over lines": (
        "a.tsv",
        'input\toutput\n"a\tx\nb"\ty\n',
        "a.tsv, row 1: a quotation mark opens a cell of several lines",
    ),
    "damaged": ("a.parquet", b"PAR1", "a.parquet: cannot be read ("),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_is_refused(tmp_path: Path, case: str) -> None:
    name, content, said = BAD[case]
    if content is not None:
        written(tmp_path / name, content)
    with pytest.raises(TaskError) as refused:
        read_examples(tmp_path / name)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_of_one_endless_line_is_refused_unread(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    with path.open("wb") as file:
        file.truncate(2**31)
    with pytest.raises(TaskError, match=r"a\.jsonl: 2,048 MiB; expected at most 256 MiB, one example on a line"):
        read_examples(path)
    assert LARGEST == 256 * 2**20


def test_classes_without_a_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    datasets.Dataset.from_list([{"input": "a", "output": 1}]).to_parquet(path)
    with pytest.raises(TaskError, match=r"row 1: output is the number 1; expected text"):
        read_examples(path)
    features = datasets.Features({"input": datasets.Value("string"), "output": datasets.ClassLabel(names=["x", "y"])})
    datasets.Dataset.from_dict({"input": ["a", "b"], "output": [0, -1]}, features).to_parquet(path)
    with pytest.raises(TaskError, match=r"a\.parquet, row 2: class -1, and the features name 2 classes, 0 to 1"):
        read_examples(path)


def test_a_dataset_of_several_splits_is_refused(tmp_path: Path) -> None:
    table = datasets.Dataset.from_list(RECORDS)
    datasets.DatasetDict(train=table, test=table).save_to_disk(tmp_path / "all")
    with pytest.raises(TaskError, match="a dataset of several splits; give the folder of one of them, all/train say"):
        read_examples(tmp_path / "all")
    assert len(read_examples(tmp_path / "all" / "train").examples) == 3
