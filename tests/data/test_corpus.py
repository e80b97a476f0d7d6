"""Documents cut into windows."""

from __future__ import annotations

import numpy as np
import pytest
from mesascope.data import Corpus, TaskError
from mesascope.data.corpus import windows

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
