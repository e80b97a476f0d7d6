"""Composition of whole models: rotary positions, too many pairs, and the heads that previous-token heads feed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data import RepeatedTokens
from mesascope.models import AttentionOnlyConfig, AttentionOnlyModel, AttentionOnlyTransformer, NotApplicable, Source
from mesascope.models.constructed.induction import DUPLICATE_TOKEN, INDUCTION, PREVIOUS_TOKEN, planted_model
from mesascope.probes import Measure
from mesascope.probes.induction_heads import composition as under_test
from mesascope.probes.induction_heads.access import Access
from mesascope.probes.induction_heads.experiment import Experiment, Passes
from mesascope.probes.induction_heads.inputs import period_inputs
from mesascope.probes.induction_heads.names import KEYS, QUERIES, READ_BY, ROTATED, VALUES
from mesascope.probes.induction_heads.weight_measures import Folded

Make = Callable[..., AttentionOnlyModel]


def experiment(subject: Any, periods: tuple[int, ...] = (4,)) -> Experiment:
    """Keys lie one token less than the period back."""
    laws = [RepeatedTokens(period, subject.shape.d_vocab) for period in periods]
    return Experiment(Passes(subject, 1), Access.to(subject), period_inputs(laws, 1, seed=0), seed=0)


def measured(subject: Any, periods: tuple[int, ...] = (4,)) -> Measure:
    of_one = experiment(subject, periods)
    return under_test.composition_measures(of_one, Folded.of(subject, of_one.access))["composition"]


def from_previous(subject: Any, heads: list[tuple[int, int]]) -> Measure:
    of_one = experiment(subject)
    folded = Folded.of(subject, of_one.access)
    return under_test.composition_from_previous(of_one, folded, heads)[under_test.FROM_PREVIOUS]


@pytest.fixture(scope="module")
def make() -> Make:
    def model(**settings: Any) -> AttentionOnlyModel:
        sizes: dict[str, Any] = {"d_vocab": 13, "n_ctx": 9, "d_model": 12, "n_layers": 3, "n_heads": 2, "d_head": 4}
        config = AttentionOnlyConfig(**{**sizes, **settings})
        rng = torch.Generator().manual_seed(3)
        parameters = {
            name: 0.5 * torch.randn(shape, generator=rng, dtype=torch.float64) + name.endswith("scale")
            for name, shape in config.shapes.items()
        }
        return AttentionOnlyModel(AttentionOnlyTransformer(config, parameters), Source("tiny", layout="in-memory"))

    return model


def test_rotary_products_are_those_at_the_offsets(make: Make) -> None:
    subject = make(positions="rotary", norm="none")
    weights, (near, far) = subject.weights(), (2, 5)
    slow = []
    for offset in (near, far):
        factors = weights.qk(2, 1, offset)
        R = factors.left @ factors.right
        L = weights.W_V[0, 1] @ weights.W_O[0, 1]
        slow.append([(L @ M).norm() / (L.norm() * M.norm()) for M in (R, R.mT)])
    q, k = (np.mean([pair[side] for pair in slow]) for side in (0, 1))
    found = measured(subject, (near + 1, far + 1))
    assert found.sel(read_by=QUERIES).values[0, 1, 2, 1] == pytest.approx(q)
    assert found.sel(read_by=KEYS).values[0, 1, 2, 1] == pytest.approx(k)
    for read_by in READ_BY:  # what the values read does not depend on positions
        assert ("keys 2 and 5 tokens back" in found.sel(read_by=read_by).message) is (read_by != VALUES)
    other = measured(subject, (5,))
    assert not np.allclose(found.sel(read_by=KEYS).values, other.sel(read_by=KEYS).values, equal_nan=True)


def test_one_layer_has_no_earlier_heads(make: Make) -> None:
    found = measured(make(n_layers=1))
    for read_by in READ_BY:
        assert found.sel(read_by=read_by).status == "not applicable"
        assert found.sel(read_by=read_by).message == "a model of one layer has no earlier heads"


def test_too_many_pairs_are_left_to_the_formula(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "_FEW", 35)
    found = measured(make()).sel(read_by=KEYS)
    assert found.status == "ok"
    assert not found.nulls
    assert "0.302 in the root mean square" in found.no_nulls  # 1 / sqrt(12 - 1): the norm takes the mean out
    monkeypatch.setattr(under_test, "_MOST", 35)
    assert "36 pairs of heads are too many" in measured(make()).message


def test_the_head_that_a_previous_token_head_feeds() -> None:
    subject = planted_model([PREVIOUS_TOKEN], [INDUCTION, DUPLICATE_TOKEN], d_vocab=14, n_ctx=16)
    found = from_previous(subject, [(0, 0)])
    assert found.axes == ("layer", "head")
    assert np.isnan(found.values[0]).all()
    null = found.nulls[ROTATED]
    assert null.shape == (20, 2, 2)
    assert found.values[1, 0] > null[:, 1, 0].max()
    assert found.values[1, 1] == pytest.approx(0, abs=1e-9)  # it reads the token itself, not what was moved
    assert "the largest with the 1 previous-token head;" in found.message


def test_the_largest_of_several_heads_in_earlier_layers_only(make: Make) -> None:
    subject, heads = make(), [(0, 1), (1, 0), (2, 1)]
    found = from_previous(subject, heads)
    assert "the largest with the 3 previous-token heads;" in found.message
    whole = measured(subject).sel(read_by=KEYS).values
    assert np.allclose(found.values[1], whole[0, 1, 1])
    assert np.allclose(found.values[2], np.maximum(whole[0, 1, 2], whole[1, 0, 2]))


def test_without_previous_token_heads_or_weights_there_is_none(make: Make) -> None:
    none = from_previous(make(), [])
    assert (none.status, none.message) == ("not applicable", "no head is a previous-token head")
    assert from_previous(make(n_layers=1), [(0, 0)]).message == "a model of one layer has no earlier heads"
    hidden = under_test.composition_measures(experiment(make()), NotApplicable("its weights are hidden"))["composition"]
    assert {hidden.sel(read_by=read_by).message for read_by in READ_BY} == {"its weights are hidden"}


def test_without_a_product_of_queries_and_keys_there_is_no_composition(make: Make) -> None:
    """The reason of the weights is the reason of the measures."""
    subject = make()
    of_one = experiment(subject)
    folded = Folded.of(subject, of_one.access)
    assert not isinstance(folded, NotApplicable)
    without = replace(folded, weights=replace(folded.weights, no_qk="scores are no product"))
    composed = under_test.composition_measures(of_one, without)["composition"]
    fed = under_test.composition_from_previous(of_one, without, [(0, 0)])[under_test.FROM_PREVIOUS]
    for measure in (composed, fed):
        assert measure.status == "not applicable"
        assert "scores are no product" in measure.message
    assert measured(subject).status == "ok"
