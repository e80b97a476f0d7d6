"""Which ids random sequences hold: those of a text, or all but those whose embeddings nothing tells apart."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mesascope.data import TaskError
from mesascope.data.corpus import windows
from mesascope.models import AttentionOnlyModel
from mesascope.models.constructed.induction import induction_circuit
from mesascope.probes.induction_heads.token_ids import TokenIds, equal_rows


def circuit(*equal: int) -> AttentionOnlyModel:
    """A model of 12 tokens, BOS among them, in which these have the same embedding."""
    subject = induction_circuit(d_vocab=12, n_ctx=11)
    with torch.no_grad():
        subject.module.W_E[list(equal)] = 0.25
    return subject


def counts(ids: TokenIds) -> list[float]:
    return ids.measure(circuit()).values.tolist()


@pytest.mark.parametrize("at_once", [3, 4096])
def test_equal_rows_are_those_of_a_slow_comparison(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mesascope.probes.induction_heads.token_ids._AT_ONCE", at_once)
    rows = torch.randn(40, 16, generator=torch.Generator().manual_seed(0))
    rows[[3, 17, 30]] = 0
    rows[5] = rows[6] + 9e-7
    rows[8] = rows[9] + 1.1e-6
    rows[11, 0] = rows[12, 0]
    slow = [
        any(i != j and np.abs(a - b).max() <= 1e-6 for j, b in enumerate(rows.numpy()))
        for i, a in enumerate(rows.numpy())
    ]
    assert equal_rows(rows).tolist() == slow
    assert equal_rows(rows).nonzero().flatten().tolist() == [3, 5, 6, 17, 30]


def test_one_row_equals_no_other() -> None:
    assert equal_rows(torch.ones(1, 3)).tolist() == [False]
    assert equal_rows(torch.ones(2, 3)).tolist() == [True, True]


def test_equal_embeddings_are_left_out_and_named() -> None:
    found = TokenIds.of_model(circuit(3, 4, 9))
    assert found.ids == (1, 2, 5, 6, 7, 8, 10, 11)  # 0 is BOS
    assert found.left_out == (3, 4, 9)
    assert counts(found) == [8, 3]
    assert found.measure(circuit()).message == "left out because their embedding rows are equal: 3, 4 and 9"
    many = TokenIds.of_model(circuit(*range(3, 12)))
    assert many.measure(circuit()).message.endswith("equal: 3, 4, 5, 6, 7 and 4 more")


def test_different_embeddings_leave_nobody_out() -> None:
    assert TokenIds.of_model(circuit()) == TokenIds(None)
    assert TokenIds.of_model(circuit(7)) == TokenIds(None)
    assert TokenIds.of_model(circuit(*range(12))) == TokenIds(None)  # or nothing would be left
    assert counts(TokenIds(None)) == [11, 0]


def test_a_text_gives_the_ids_that_occur_in_it() -> None:
    corpus = windows([np.array([4, 7, 4, 0]), np.array([9, 7])], 11, 12, bos=0)
    assert TokenIds.of_text(corpus) == TokenIds((4, 7, 9))
    assert counts(TokenIds.of_text(corpus)) == [3, 0]
    with pytest.raises(TaskError, match="holds 1 token id besides BOS; expected at least 2; give longer text"):
        TokenIds.of_text(windows([np.array([4, 0, 4])], 11, 12, bos=0))
