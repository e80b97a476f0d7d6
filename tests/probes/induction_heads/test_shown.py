"""Which heads' attention is kept and on what, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data import TaskError, UsageError
from mesascope.data.settings import read_settings
from mesascope.models import AttentionOnlyModel
from mesascope.models.constructed.induction import induction_circuit
from mesascope.probes import Findings
from mesascope.probes.findings import head_name
from mesascope.probes.induction_heads.names import Verdict
from mesascope.probes.induction_heads.probe import InductionHeads
from mesascope.probes.induction_heads.shown import chosen_heads
from mesascope.probes.kept_attention import KeptAttention
from mesascope.probes.measure import Measure, without_interval


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mesascope.probes.induction_heads.observations.NULL_DRAWS", (1, 1))


@pytest.fixture(scope="module")
def circuit() -> AttentionOnlyModel:
    return induction_circuit(d_vocab=24, n_ctx=24)


def measure(circuit: AttentionOnlyModel, batch: int = 16, **settings: Any) -> Findings:
    return InductionHeads(periods=(6, 4), n_sequences=8, ablate="nothing", **settings).measure(circuit, 0, batch)


def kept(circuit: AttentionOnlyModel, **settings: Any) -> KeptAttention:
    found = KeptAttention.of(measure(circuit, **settings))
    assert found is not None
    return found


# -- which heads -------------------------------------------------------------------------------------------------------


def scored(layers: int = 3) -> dict[str, Measure]:
    """Scores of 8 heads a layer that rise with the head."""
    values = np.tile(np.arange(8.0), (layers, 1)) + np.arange(layers)[:, None] / 10
    names = ("strength", "duplicate_token", "previous_token", "current_token", "first_token", "fixed_offset")
    found = {name if name == "strength" else f"{name}_score": values for name in names}
    return {name: without_interval(v, "1", ("layer", "head"), message="", no_nulls="-") for name, v in found.items()}


def chosen(verdicts: dict[tuple[int, int], Verdict], asked: Any = "called") -> list[str]:
    everybody = dict.fromkeys(np.ndindex(3, 8), Verdict.NONE) | verdicts
    found = chosen_heads(asked, everybody, scored())
    assert all(everybody[head] == verdict for head, verdict in found.items())
    return [head_name(head) for head in found]


def test_the_strongest_come_first_verdict_by_verdict() -> None:
    called = {(0, 1): Verdict.PREVIOUS_TOKEN, (1, 2): Verdict.INDUCTION, (2, 5): Verdict.INDUCTION}
    assert chosen(called) == ["L2H5", "L1H2", "L0H1"]
    assert chosen({}) == []
    assert chosen(called, "nothing") == []


def test_of_many_each_verdict_has_its_turn() -> None:
    many = {(2, head): Verdict.INDUCTION for head in range(8)} | {(0, head): Verdict.FIRST_TOKEN for head in range(8)}
    assert chosen(many | {(1, 0): Verdict.PREVIOUS_TOKEN}) == [
        "L2H7", "L2H6", "L2H5", "L2H4", "L1H0", "L0H7", "L0H6", "L0H5",
    ]  # fmt: skip


def test_heads_that_were_asked_for_come_in_that_order() -> None:
    assert chosen({(1, 2): Verdict.INDUCTION}, ("L2H0", "L1H2")) == ["L2H0", "L1H2"]


# -- on what -----------------------------------------------------------------------------------------------------------


def test_the_first_sequence_of_the_longest_period(circuit: AttentionOnlyModel) -> None:
    found = kept(circuit)
    assert found.names == ("L1H0", "L0H0")
    ids = found.recipe.settings["ids"]
    assert ids[0] == circuit.bos
    assert ids[1:7] == ids[7:13]
    assert found.texts == (str(ids[0]), *(f" {token}" for token in ids[1:]))
    assert found.sequence == "BOS and 6 random tokens, 2 times"
    for query in range(8, 13):  # what followed the same token, and the token before
        assert found.pattern[0, query, query - 5] == pytest.approx(1, abs=1e-5)
        assert found.pattern[1, query, query - 1] == pytest.approx(1, abs=1e-5)
    seen = circuit.observe(torch.tensor([ids]), {"pattern": lambda x, _: x})["pattern"]
    np.testing.assert_allclose(found.pattern, [seen[1][0, 0], seen[0][0, 0]], atol=1e-6)


def test_only_the_first_tokens_that_were_asked_for(circuit: AttentionOnlyModel) -> None:
    whole, found = kept(circuit), kept(circuit, attention_tokens=9)
    np.testing.assert_allclose(found.pattern, whole.pattern[:, :9, :9], atol=1e-6)
    assert found.sequence == "the first 9 of 13 tokens: BOS and 6 random tokens, 2 times"


def test_the_users_text_where_there_is_one(circuit: AttentionOnlyModel, tmp_path: Path) -> None:
    path = tmp_path / "own.jsonl"
    documents = [[7, 1, 2, 3, 1, 4, 2], [7, 8, 9, 10]]
    path.write_text("\n".join(json.dumps({"tokens": ids}) for ids in documents))
    found = kept(circuit, tokens=str(path), attention_tokens=6)
    assert found.recipe.settings["ids"] == [circuit.bos, 7, 1, 2, 3, 1]
    assert found.sequence == "the first 6 tokens of own.jsonl, document 1 of 2"
    assert found.pattern[0, 5, 3] == pytest.approx(1, abs=1e-5)  # 1 came before, and 2 followed
    longer = kept(circuit, tokens=str(path))
    assert longer.recipe.settings["ids"] == [circuit.bos, *documents[0]]


def test_nothing_else_changes(circuit: AttentionOnlyModel) -> None:
    """The same numbers with and without, whatever the batch; one sequence more is passed through the model."""
    nothing, some = measure(circuit, attention="nothing"), measure(circuit, attention=("L1H0",))
    assert KeptAttention.of(nothing) is None
    added = {f"attention_{name}" for name in ("heads", "tokens", "pattern", "value_norms")}
    assert set(some.arrays) - set(nothing.arrays) == added
    for name, measured in nothing.measures.items():
        if name != "forward_passes":
            np.testing.assert_array_equal(measured.values, some.measures[name].values)
    spent = [found.measures["forward_passes"].sel(purpose="kept attention").estimate for found in (nothing, some)]
    assert spent == [0, 1]
    again = measure(circuit, batch=3, attention=("L1H0",))
    np.testing.assert_array_equal(some.arrays["attention_pattern"], again.arrays["attention_pattern"])
    assert some.recipes["attention"] == again.recipes["attention"]


# -- what is refused ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("L9H9",), "L9H9 does not exist: this model has 2 layers of 1 head; expected L0H0 to L1H0"),
        (("L0H0", "L2H0", "L0H1"), "L2H0, L0H1 do not exist"),
    ],
)
def test_heads_that_the_model_does_not_have(circuit: AttentionOnlyModel, asked: tuple[str, ...], said: str) -> None:
    with pytest.raises(TaskError, match=said):
        measure(circuit, attention=asked)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"attention": ("H4",)}, "attention: 'H4' is no head; expected L<layer>H<head>"),
        ({"attention": ("L1H0", "caled")}, "attention: 'caled' is no head"),
        ({"attention": ("called", "L1H0")}, "'called' is no head.*; or called or nothing, alone"),
        ({"attention": ()}, r"attention = \[\]; expected at least one head"),
        ({"attention": "every"}, "attention = 'every'; expected called, nothing or a list of texts"),
        ({"attention": tuple(f"L0H{n}" for n in range(9))}, "attention names 9 heads; expected at most 8"),
        ({"attention_tokens": 129}, "attention_tokens = 129; expected a whole number from 2 to 128"),
        ({"attention_tokens": 1}, "attention_tokens = 1; expected a whole number from 2 to 128"),
    ],
)
def test_settings_that_name_no_heads_or_too_much(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        read_settings(InductionHeads, settings, "induction-heads: ")


def test_a_head_is_named_once_and_as_reports_write_it() -> None:
    assert InductionHeads(attention=("L01H4", "L1H4", "L0H2")).attention == ("L1H4", "L0H2")
