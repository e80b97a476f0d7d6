"""Which sequences a model is shown: periods that fit, controls that share their first repeat, refusals that say why."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mesascope.data import TaskError
from mesascope.models import LanguageModelShape
from mesascope.probes.induction_heads.inputs import input_recipes, period_inputs, period_laws


def shape(**changed: Any) -> LanguageModelShape:
    sizes: dict[str, Any] = {"n_layers": 2, "n_heads": 4, "n_kv_heads": 4, "d_model": 8, "d_head": 2}
    sizes |= {"d_vocab": 1000, "n_ctx": 1024, "causal": True, "positions": "learned"}
    return LanguageModelShape(**{**sizes, **changed})


def periods(bos: int | None = 0, repeats: int = 2, **changed: Any) -> list[int]:
    return [law.period for law in period_laws(shape(**changed), bos, None, repeats)]


def test_default_periods_differ_and_fit() -> None:
    assert periods() == [50, 37, 25]
    assert periods(n_ctx=None) == [50, 37, 25]
    assert periods(n_ctx=64) == [31, 23, 15]
    assert periods(n_ctx=64, repeats=3) == [21, 15, 10]
    assert periods(bos=None, n_ctx=8, d_vocab=26) == [4, 3, 2]
    assert periods(bos=0, n_ctx=8) == [3, 2]
    assert periods(bos=None, n_ctx=4) == [2]
    assert periods(d_vocab=21) == [10, 7, 5]  # no token twice in the control
    laws = period_laws(shape(), 0, None, 2, ids=tuple(range(5, 25)))
    assert [(law.period, law.ids) for law in laws] == [(period, tuple(range(5, 25))) for period in (10, 7, 5)]


def test_asked_for_periods_come_longest_first_and_once_each() -> None:
    laws = period_laws(shape(), None, (7, 30, 7), 2)
    assert [(law.period, law.length, law.bos) for law in laws] == [(30, 60, None), (7, 14, None)]


def test_what_does_not_fit_is_refused_with_what_would() -> None:
    with pytest.raises(
        TaskError, match=r"period 50 does not fit: 2 repeats and BOS take 101 tokens, .* at most 64;.* fits is 31"
    ):
        period_laws(shape(n_ctx=64), 0, (50,), 2)
    with pytest.raises(TaskError, match="expected at most 19 each, the size of the vocabulary without BOS"):
        period_laws(shape(d_vocab=20), 0, (20,), 2)
    with pytest.raises(
        TaskError,
        match="this model reads 4 tokens: too few for a repeat; expected at least 5, 2 repeats of two different",
    ):
        period_laws(shape(n_ctx=4), 0, None, 2)


def test_sequences_and_their_controls() -> None:
    inputs = period_inputs(period_laws(shape(), 7, (10, 6), 2), 3, seed=1)
    assert [one.period for one in inputs] == [10, 6]
    for one in inputs:
        S = one.period
        assert one.repeated.shape == one.control.shape == (3, 2 * S + 1)
        assert torch.equal(one.repeated[:, 1 : S + 1], one.repeated[:, S + 1 :])
        assert torch.equal(one.repeated[:, : S + 1], one.control[:, : S + 1])
        assert all(len(set(row.tolist())) == 2 * S + 1 for row in one.control)
        assert torch.equal(one.shuffled.sort(dim=1).values, one.repeated.sort(dim=1).values)
        assert not torch.equal(one.shuffled, one.repeated)


def test_offsets_of_the_other_periods() -> None:
    inputs = period_inputs(period_laws(shape(), 0, (50, 37, 25), 2), 1, seed=0)
    # at period 25 a query 49 back is read by one position only, and 37 - 1 = 36 by 14 of 25
    assert [one.other_offsets for one in inputs] == [(36, 24), (49, 24), (36,)]
    three = period_inputs(period_laws(shape(), 0, (14, 7), 3), 1, seed=0)
    assert [one.other_offsets for one in three] == [(6,), ()]  # 13 back is two periods of 7: what matching finds


def test_recipes_say_how_to_make_them_again() -> None:
    laws = period_laws(shape(), 0, (10, 6), 2)
    inputs = period_inputs(laws, 3, seed=1)
    found = input_recipes(inputs, seed=1)
    assert (found["evaluation"].n, found["control"].n, found["shuffled"].n) == (6, 6, 3)
    assert found["evaluation"].settings["periods"] == [10, 6]
    assert found["shuffled"].settings["periods"] == [10]
    assert found == input_recipes(period_inputs(laws, 3, seed=1), seed=1)
    other = input_recipes(period_inputs(laws, 3, seed=2), seed=2)
    assert other["evaluation"].sha256 != found["evaluation"].sha256 != found["control"].sha256
