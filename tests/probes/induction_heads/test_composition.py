"""Composition of whole models: rotary positions, too many pairs, and the heads that previous-token heads feed."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.models import AttentionOnlyConfig, AttentionOnlyModel, AttentionOnlyTransformer, NotApplicable, Source
from mesascope.models.constructed.induction import DUPLICATE_TOKEN, INDUCTION, PREVIOUS_TOKEN, planted_model
from mesascope.probes import Measure
from mesascope.probes.induction_heads import composition as under_test
from mesascope.probes.induction_heads.passes import Abilities
from mesascope.probes.induction_heads.weight_measures import Folded

Make = Callable[..., AttentionOnlyModel]


def folded(subject: Any) -> Folded:
    found = Folded.of(subject, Abilities.of(subject))
    assert isinstance(found, Folded)
    return found


def measured(subject: Any, offsets: tuple[int, ...] = (3,)) -> dict[str, Measure]:
    return under_test.composition_measures(folded(subject), offsets, seed=0)


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
    found = measured(subject, (near, far))
    assert found["q_composition"].values[0, 1, 2, 1] == pytest.approx(q)
    assert found["k_composition"].values[0, 1, 2, 1] == pytest.approx(k)
    assert "keys 2, 5 tokens back" in found["k_composition"].message
    assert not np.allclose(found["k_composition"].values, measured(subject, (4,))["k_composition"].values)


def test_one_layer_has_no_earlier_heads(make: Make) -> None:
    found = measured(make(n_layers=1))
    for kind in "qkv":
        assert found[f"{kind}_composition"].status == "not applicable"
        assert found[f"{kind}_composition"].message == "one layer has no earlier heads"


def test_too_many_pairs_are_left_to_the_formula(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(under_test, "_FEW", 35)
    found = measured(make())["k_composition"]
    assert found.status == "ok"
    assert not found.nulls
    assert "0.302 in the root mean square" in found.no_nulls  # 1 / sqrt(12 - 1): the norm takes the mean out
    monkeypatch.setattr(under_test, "_MOST", 35)
    assert "36 pairs of heads are too many" in measured(make())["k_composition"].message


def test_the_head_that_a_previous_token_head_feeds() -> None:
    subject = planted_model([PREVIOUS_TOKEN], [INDUCTION, DUPLICATE_TOKEN], d_vocab=14, n_ctx=16)
    found = under_test.from_previous_token(folded(subject), [(0, 0)], (3,), seed=0)[under_test.FROM_PREVIOUS]
    assert found.axes == ("layer", "head")
    assert np.isnan(found.values[0]).all()
    null = found.nulls[under_test.ROTATED]
    assert null.shape == (20, 2, 2)
    assert found.values[1, 0] > null[:, 1, 0].max()
    assert found.values[1, 1] == pytest.approx(0, abs=1e-9)  # it reads the token itself, not what was moved
    assert "with the 1 previous-token heads" in found.message


def test_the_largest_of_several_heads_in_earlier_layers_only(make: Make) -> None:
    subject, heads = make(), [(0, 1), (1, 0), (2, 1)]
    found = under_test.from_previous_token(folded(subject), heads, (3,), seed=0)[under_test.FROM_PREVIOUS]
    whole = measured(subject)["k_composition"].values
    assert np.allclose(found.values[1], whole[0, 1, 1])
    assert np.allclose(found.values[2], np.maximum(whole[0, 1, 2], whole[1, 0, 2]))


def test_without_previous_token_heads_or_weights_there_is_none(make: Make) -> None:
    none = under_test.from_previous_token(folded(make()), [], (3,), seed=0)[under_test.FROM_PREVIOUS]
    assert (none.status, none.message) == ("not applicable", "no head is a previous-token head")
    alone = under_test.from_previous_token(folded(make(n_layers=1)), [(0, 0)], (3,), seed=0)[under_test.FROM_PREVIOUS]
    assert alone.message == "one layer has no earlier heads"
    hidden = under_test.composition_measures(NotApplicable("its weights are not shown"), (3,), seed=0)
    assert {m.message for m in hidden.values()} == {"its weights are not shown"}
