"""Files of documents: what each ending holds, what is left out on the way, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from string import ascii_lowercase
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from mesascope.data import TaskError, read_documents
from mesascope.data.documents import documents_sha256


def encode(text: str) -> list[int]:
    return [ord(letter) - ord("a") for letter in text if letter in ascii_lowercase]


def ids(path: Path, **settings: Any) -> list[list[int]]:
    return [document.tolist() for document in read_documents(path, encode, **settings).ids]


def test_text_is_one_document_and_a_folder_has_one_a_file(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("ab c\n")
    (tmp_path / "a.txt").write_text("d")
    (tmp_path / "notes.md").write_text("not read")
    assert ids(tmp_path / "b.txt") == [[0, 1, 2]]
    assert ids(tmp_path) == [[3], [0, 1, 2]]


def test_lines_of_json_are_documents(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps({"text": "abc"}) + "\n" + json.dumps({"tokens": [5, 6]}) + "\n")
    assert ids(path) == [[0, 1, 2], [5, 6]]


def test_arrays_of_ids(tmp_path: Path) -> None:
    rows = np.arange(6, dtype=np.uint16).reshape(2, 3)
    np.save(tmp_path / "rows.npy", rows)
    np.savez(tmp_path / "row.npz", tokens=rows[1])
    assert ids(tmp_path / "rows.npy") == rows.tolist()
    assert ids(tmp_path / "row.npz") == [[3, 4, 5]]


BAD = {
    "missing.txt": (None, "cannot be read"),
    "empty.txt": (b" \n", "no document has a token (1 empty); expected text, or token ids"),
    "latin.txt": ("ä".encode("latin-1"), "byte 0 is not UTF-8; expected UTF-8 text"),
    "broken.jsonl": (b'{"text": "a"}\n{"text"', "line 2: not JSON"),
    "other.jsonl": (b'{"txt": "a"}', 'is no document; expected {"text": "…"}, or {"tokens": [id, …]}'),
    "none.jsonl": (b"", "no document has a token (0 empty)"),
    "words.jsonl": (b'{"tokens": ["a"]}', "tokens have dtype <U1; expected integers"),
    "nested.jsonl": (b'{"tokens": [[1], [2]]}', "tokens are nested 2 deep; expected a list of integers"),
    "uneven.jsonl": (b'{"tokens": [[1], [2, 3]]}', "tokens are no array"),
    "nothing.jsonl": (b'{"tokens": []}', "no document has a token (1 empty)"),
    "broken.npy": (b"\x93NUMPY", "not a readable .npy"),
    "symbols.txt": (b"1 2 3", "no document has a token (1 empty)"),
}


@pytest.mark.parametrize("name", BAD)
def test_what_holds_no_documents_is_refused_in_one_line(tmp_path: Path, name: str) -> None:
    content, words = BAD[name]
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(TaskError) as caught:
        read_documents(tmp_path / name, encode)
    assert words in str(caught.value)
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_text_needs_a_tokenizer(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("abc")
    with pytest.raises(TaskError, match="no tokenizer; give token ids"):
        read_documents(tmp_path / "a.txt")


@pytest.mark.parametrize("array", [np.zeros((1, 2, 3), dtype=int), np.zeros(3), np.array(["a"])])
def test_other_arrays_are_refused(tmp_path: Path, array: np.ndarray) -> None:
    np.save(tmp_path / "odd.npy", array)
    with pytest.raises(TaskError, match=r"odd\.npy: tokens"):
        read_documents(tmp_path / "odd.npy")


# ---- every ending ----

ROWS = [[5, 6, 7], [8, 9, 0]]
MASK = [[1, 1, 1], [1, 1, 0]]
MASKED = [[5, 6, 7], [8, 9]]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (["abc", "de"], [[0, 1, 2], [3, 4]]),
        ([{"text": "abc"}, {"tokens": [5]}, [7, 8]], [[0, 1, 2], [5], [7, 8]]),
        ([5, 6, 7], [[5, 6, 7]]),
        ({"input_ids": [5, 6]}, [[5, 6]]),
        ({"input_ids": ROWS}, ROWS),
        ({"input_ids": ROWS, "attention_mask": MASK}, MASKED),
        ({"text": ["abc", "de"]}, [[0, 1, 2], [3, 4]]),
    ],
)
def test_json_is_a_list_of_documents_or_an_object_of_columns(tmp_path: Path, content: Any, expected: Any) -> None:
    (tmp_path / "mine.json").write_text(json.dumps(content))
    assert ids(tmp_path / "mine.json") == expected


def test_a_table_has_a_column_of_text(tmp_path: Path) -> None:
    """Cells may hold commas, quotes and ends of lines."""
    (tmp_path / "mine.csv").write_text('id,text\n1,"ab, ""c""\nd"\n2,e\n')
    assert ids(tmp_path / "mine.csv") == [[0, 1, 2, 3], [4]]
    (tmp_path / "mine.csv").write_text("id,text\n1,a\u2028b\n2,c\n")
    assert ids(tmp_path / "mine.csv") == [[0, 1], [2]]
    (tmp_path / "other.csv").write_text("id,body\n1,a\n")
    with pytest.raises(TaskError, match=r"other.csv: columns \['id', 'body'\]; expected one that is called text"):
        ids(tmp_path / "other.csv")


@pytest.mark.parametrize(
    ("columns", "expected"),
    [
        ({"text": ["abc", "de"], "label": [0, 1]}, [[0, 1, 2], [3, 4]]),
        ({"input_ids": ROWS, "attention_mask": MASK}, MASKED),
        ({"tokens": ROWS}, ROWS),
    ],
)
def test_parquet_and_saved_datasets(tmp_path: Path, columns: Any, expected: Any) -> None:
    pyarrow.parquet.write_table(pa.table(columns), tmp_path / "mine.parquet")
    assert ids(tmp_path / "mine.parquet") == expected
    folder = saved_dataset(tmp_path / "saved", columns)
    assert ids(folder) == expected
    before = documents_sha256(folder)
    saved_dataset(folder, {name: values[:1] for name, values in columns.items()})
    assert documents_sha256(folder) != before


def saved_dataset(folder: Path, columns: Any) -> Path:
    """What `datasets.Dataset.save_to_disk` writes."""
    folder.mkdir(exist_ok=True)
    table = pa.table(columns)
    with pa.ipc.new_stream(folder / "data-00000-of-00001.arrow", table.schema) as stream:
        stream.write_table(table)
    (folder / "state.json").write_text(json.dumps({"_data_files": [{"filename": "data-00000-of-00001.arrow"}]}))
    return folder


def test_raw_ids_are_sixteen_bits_wide(tmp_path: Path) -> None:
    """As nanoGPT's prepare.py writes them."""
    np.array([3, 24, 50_256], dtype="<u2").tofile(tmp_path / "ids.bin")
    assert ids(tmp_path / "ids.bin", asked="tokens") == [[3, 24, 50_256]]
    (tmp_path / "odd.bin").write_bytes(b"abc")
    with pytest.raises(TaskError, match="3 bytes; expected 16-bit token ids"):
        ids(tmp_path / "odd.bin")


@pytest.mark.parametrize(
    ("name", "asked", "said"),
    [
        ("ids.bin", "text", "'.bin' is none of .txt, .md, .csv, .jsonl, .json, .parquet, which --text reads beside a"),
        ("mine.txt", "tokens", "'.txt' is none of .jsonl, .json, .parquet, .npy, .npz, .bin, which --tokens reads;"),
        ("mine.xlsx", None, "'.xlsx' is none of .txt, .md, .csv, .jsonl"),
        ("mine", "text", "a file without an ending is none of .txt, .md"),
    ],
)
def test_another_ending_is_refused_by_name(tmp_path: Path, name: str, asked: Any, said: str) -> None:
    (tmp_path / name).write_text("abc")
    with pytest.raises(TaskError) as caught:
        ids(tmp_path / name, asked=asked)
    assert said in str(caught.value)


def test_an_ending_may_be_in_capitals(tmp_path: Path) -> None:
    (tmp_path / "MINE.TXT").write_text("abc")
    assert ids(tmp_path / "MINE.TXT") == [[0, 1, 2]]


def test_a_dataset_of_several_splits_asks_for_one(tmp_path: Path) -> None:
    (tmp_path / "dataset_dict.json").write_text('{"splits": ["train"]}')
    with pytest.raises(TaskError, match="a dataset of several splits; give the folder of one of them"):
        ids(tmp_path)


def test_a_dataset_names_files_of_its_own_folder_only(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text('{"_data_files": [{"filename": "../secret.arrow"}]}')
    with pytest.raises(TaskError, match="names no files of data"):
        ids(tmp_path)


# ---- what is left out ----


def test_only_a_newline_ends_a_line_of_json_lines(tmp_path: Path) -> None:
    """U+2028 and U+0085 may stand in a string as they are; a byte-order mark and \\r are none of it."""
    lines = ['{"text": "ab\u2028c"}', '{"text": "d\u0085e"}', ""]
    (tmp_path / "mine.jsonl").write_bytes(b"\xef\xbb\xbf" + "\r\n".join(lines).encode())
    assert ids(tmp_path / "mine.jsonl") == [[0, 1, 2], [3, 4]]
    (tmp_path / "mine.txt").write_bytes(b"\xef\xbb\xbfab")
    letters = read_documents(tmp_path / "mine.txt", lambda text: [ord(letter) for letter in text])
    assert letters.ids[0].tolist() == [97, 98]


def test_empty_documents_are_skipped_and_counted(tmp_path: Path) -> None:
    (tmp_path / "mine.jsonl").write_text('{"text": "ab"}\n{"text": " "}\n{"tokens": []}\n{"text": "c"}\n')
    found = read_documents(tmp_path / "mine.jsonl", encode)
    assert [document.tolist() for document in found.ids] == [[0, 1], [2]]
    assert found.facts == {"documents": 2, "empty": 2}


def test_bos_at_the_start_of_a_document_is_left_out(tmp_path: Path) -> None:
    """Once, and nowhere else: every window gets a BOS anyway."""
    (tmp_path / "mine.json").write_text(json.dumps([[9, 1, 2], [1, 9, 2], [9, 9, 3], [9]]))
    found = read_documents(tmp_path / "mine.json", bos=9)
    assert [document.tolist() for document in found.ids] == [[1, 2], [1, 9, 2], [9, 3]]
    assert found.facts == {"documents": 3, "empty": 1, "began_with_bos": 3}
    assert read_documents(tmp_path / "mine.json").facts == {"documents": 4}


def test_padding_is_left_out_by_mask_or_by_id(tmp_path: Path) -> None:
    np.savez(tmp_path / "masked.npz", input_ids=ROWS, attention_mask=MASK)
    assert ids(tmp_path / "masked.npz") == MASKED
    assert read_documents(tmp_path / "masked.npz").facts == {"documents": 2, "padding": 1}
    np.save(tmp_path / "padded.npy", [[0, 0, 5, 0, 6], [7, 8, 0, 0, 0], [0, 0, 0, 0, 0]])
    found = read_documents(tmp_path / "padded.npy", pad=0)
    assert [document.tolist() for document in found.ids] == [[5, 0, 6], [7, 8]]
    assert found.facts == {"documents": 2, "empty": 1, "padding": 10}
    assert read_documents(tmp_path / "padded.npy").facts == {"documents": 3}


@pytest.mark.parametrize(
    ("record", "said"),
    [
        ({"input_ids": [1, 2], "attention_mask": [1]}, "attention_mask has 1 entries"),
        ({"input_ids": [1, 2], "attention_mask": [1, 3]}, "expected 0 or 1 for each of 2 tokens"),
    ],
)
def test_a_mask_that_does_not_fit_is_refused(tmp_path: Path, record: Any, said: str) -> None:
    (tmp_path / "mine.jsonl").write_text(json.dumps(record))
    with pytest.raises(TaskError, match=said):
        ids(tmp_path / "mine.jsonl")
    np.savez(tmp_path / "mine.npz", tokens=[[1, 2]], attention_mask=[[1]])
    with pytest.raises(TaskError, match=r"attention_mask has shape \[1, 1\]; expected that of the tokens, \[1, 2\]"):
        ids(tmp_path / "mine.npz")


def test_the_digest_of_a_file_or_folder_is_of_its_content(tmp_path: Path) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    for folder in (here, there):
        folder.mkdir()
        (folder / "a.txt").write_text("a")
        (folder / "b.txt").write_text("b")
    (there / "notes.md").write_text("not read")
    assert documents_sha256(here) == documents_sha256(there)
    assert documents_sha256(here / "a.txt") == documents_sha256(there / "a.txt") != documents_sha256(here)
    (there / "a.txt").write_text("b")
    (there / "b.txt").write_text("a")
    assert documents_sha256(here) != documents_sha256(there)
    with pytest.raises(TaskError, match="cannot be read"):
        documents_sha256(tmp_path / "missing.txt")
