"""Text and token files: documents, and the windows that they are cut into."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from mesascope.data import Corpus, TaskError, read_documents
from mesascope.data.corpus import documents_sha256, windows


def encode(text: str) -> list[int]:
    return [ord(letter) - ord("a") for letter in text if letter.isalpha()]


def test_text_is_one_document_and_a_folder_has_one_a_file(tmp_path: Path) -> None:
    (tmp_path / "b.txt").write_text("ab c\n")
    (tmp_path / "a.txt").write_text("d")
    (tmp_path / "notes.md").write_text("not read")
    assert [d.tolist() for d in read_documents(tmp_path / "b.txt", encode)] == [[0, 1, 2]]
    assert [d.tolist() for d in read_documents(tmp_path, encode)] == [[3], [0, 1, 2]]


def test_lines_of_json_are_documents(tmp_path: Path) -> None:
    path = tmp_path / "mine.jsonl"
    path.write_text(json.dumps({"text": "abc"}) + "\n" + json.dumps({"tokens": [5, 6]}) + "\n")
    assert [d.tolist() for d in read_documents(path, encode)] == [[0, 1, 2], [5, 6]]


def test_arrays_of_ids(tmp_path: Path) -> None:
    rows = np.arange(6, dtype=np.uint16).reshape(2, 3)
    np.save(tmp_path / "rows.npy", rows)
    np.savez(tmp_path / "row.npz", tokens=rows[1])
    assert [d.tolist() for d in read_documents(tmp_path / "rows.npy")] == rows.tolist()
    assert [d.tolist() for d in read_documents(tmp_path / "row.npz")] == [[3, 4, 5]]


BAD = {
    "missing.txt": (None, "cannot be read"),
    "empty.txt": (b" \n", "empty or only white space; expected text"),
    "latin.txt": ("ä".encode("latin-1"), "byte 0 is not UTF-8; expected UTF-8 text"),
    "broken.jsonl": (b'{"text": "a"}\n{"text"', "line 2: not JSON"),
    "other.jsonl": (b'{"txt": "a"}', 'is neither {"text": "…"} nor {"tokens": [id, …]}'),
    "none.jsonl": (b"", "no documents; expected text"),
    "words.jsonl": (b'{"tokens": ["a"]}', "tokens have dtype <U1; expected integers"),
    "nested.jsonl": (b'{"tokens": [[1], [2]]}', "tokens are nested 2 deep; expected a list of integers"),
    "uneven.jsonl": (b'{"tokens": [[1], [2, 3]]}', "tokens are no array"),
    "nothing.jsonl": (b'{"tokens": []}', "document 0 (counted from 0) has 0 tokens"),
    "broken.npy": (b"\x93NUMPY", "not a readable .npy"),
    "symbols.txt": (b"1 2 3", "document 0 (counted from 0) has 0 tokens"),
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


DOCUMENTS = [np.arange(7), np.arange(10, 14), np.array([20])]


def all_rows(cut: Corpus, batch_size: int = 2) -> list[tuple[int, int, list[int]]]:
    return [
        (int(document), int(start), tokens)
        for batch in cut.batches(batch_size)
        for document, start, tokens in zip(batch.document, batch.start, batch.tokens.tolist(), strict=True)
    ]


def test_every_token_stands_in_one_window_and_ends_may_be_shorter() -> None:
    rows = all_rows(windows(DOCUMENTS, 4, 30, bos=29))
    assert rows == [
        (0, 0, [29, 0, 1, 2]),
        (0, 3, [29, 3, 4, 5]),
        (1, 0, [29, 10, 11, 12]),
        (0, 6, [29, 6]),
        (1, 3, [29, 13]),
        (2, 0, [29, 20]),
    ]


def test_without_bos_a_single_token_is_no_window() -> None:
    assert all_rows(windows(DOCUMENTS, 3, 30)) == [
        (0, 0, [0, 1, 2]),
        (0, 3, [3, 4, 5]),
        (1, 0, [10, 11, 12]),
    ]


@pytest.mark.parametrize("batch_size", [1, 3, 100])
def test_batches_hold_windows_of_one_length(batch_size: int) -> None:
    cut = windows(DOCUMENTS, 4, 30, bos=29)
    assert all(1 <= len(batch.tokens) <= batch_size for batch in cut.batches(batch_size))
    assert all_rows(cut, batch_size) == all_rows(cut)


def test_a_limit_keeps_the_first_tokens() -> None:
    cut = windows(DOCUMENTS, 4, 30, limit=9)
    assert [d.tolist() for d in cut.documents] == [list(range(7)), [10, 11]]
    assert cut.n_tokens == 9
    assert cut.recipe.n == 2
    assert cut.recipe.settings == {"window": 4, "bos": None, "limit": 9}


def test_the_digest_is_of_the_tokens() -> None:
    digest = windows(DOCUMENTS, 4, 30).recipe.sha256
    assert windows(DOCUMENTS, 3, 30).recipe.sha256 == digest
    assert windows(DOCUMENTS[:2], 4, 30).recipe.sha256 != digest


@pytest.mark.parametrize("token", [-1, 30])
def test_tokens_outside_the_vocabulary_are_named(token: int) -> None:
    with pytest.raises(
        TaskError, match=rf"token {token} at position 1 of document 1; expected 0 to 29, .* another tokenizer"
    ):
        windows([np.arange(3), np.array([0, token])], 4, 30)


def test_documents_with_nothing_to_foresee_are_refused() -> None:
    with pytest.raises(TaskError, match="a length of 1, BOS included; expected at least 2; give longer text"):
        windows([np.array([1]), np.array([2])], 4, 30)
    with pytest.raises(TaskError, match="expected at least 2"):
        windows(DOCUMENTS, 1, 30)


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
