"""Planted norms: each oddity is there when it was asked for, and only then; read off the model's own activations."""

from __future__ import annotations

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.models.constructed.norms import planted_norms
from mesascope.models.own.attention_only import AttentionOnlyModel
from torch import Tensor

D_VOCAB, DIMENSION = 50, 11
FREQUENCIES = (1 / torch.arange(1, D_VOCAB + 1, dtype=torch.float64)) / sum(1 / k for k in range(1, D_VOCAB + 1))
TOKENS = torch.cat([torch.zeros(4, 1, dtype=torch.long), torch.randint(1, D_VOCAB, (4, 40))], dim=1)
CHOICES = [
    {"sink": sink, "massive": massive, "massive_dimension": DIMENSION, "frequencies": frequencies}
    for sink, massive, frequencies in product((False, True), (0.0, 10_000.0), (None, FREQUENCIES))
]

each_choice = pytest.mark.parametrize(
    "choice", CHOICES, ids=lambda c: f"sink={c['sink']} massive={c['massive']} rare={c['frequencies'] is not None}"
)


def watched(model: AttentionOnlyModel, site: Any) -> list[Tensor]:
    return model.run(TOKENS, watch={site: lambda activation, layer: activation}).values[site]


@each_choice
def test_a_sink_is_there_only_where_it_was_planted(choice: dict[str, Any]) -> None:
    model = planted_norms(**choice)
    for pattern, v in zip(watched(model, "pattern"), watched(model, "v"), strict=True):
        to_first = pattern[..., 0]
        drain = v[:, :, 0].norm(dim=-1) / v[:, :, 1:].norm(dim=-1).mean(-1)
        if choice["sink"]:
            assert (1 - to_first).abs().max() < 1e-9
            assert drain.max() == 0
        else:
            evenly = 1 / torch.arange(1, TOKENS.shape[1] + 1, dtype=torch.float64)
            assert (to_first - evenly).abs().mean() < 0.03
            assert 0.2 < drain.mean() < 3


@each_choice
def test_a_massive_dimension_is_there_only_where_it_was_planted(choice: dict[str, Any]) -> None:
    model = planted_norms(**choice)
    assert max(float(state.abs().max()) for state in watched(model, "embed")) < 10
    for state in watched(model, "resid_post"):
        large = (state.abs() > 100).nonzero()
        if choice["massive"]:
            assert large.tolist() == [[sequence, 0, DIMENSION] for sequence in range(len(TOKENS))]
            assert state[:, 0, DIMENSION].tolist() == pytest.approx([10_000.0] * len(TOKENS))
            assert state.abs().max() > 1000 * state.abs().median()
        else:
            assert len(large) == 0


@each_choice
def test_norms_know_frequencies_only_where_it_was_planted(choice: dict[str, Any]) -> None:
    norms = planted_norms(**choice).embedding().norm(dim=-1).numpy()
    if choice["frequencies"] is None:
        assert abs(np.corrcoef(norms, FREQUENCIES.log().numpy())[0, 1]) < 0.3
    else:
        np.testing.assert_allclose(norms, -FREQUENCIES.log().numpy(), rtol=1e-12)


@each_choice
def test_states_grow_and_predictions_stay_finite(choice: dict[str, Any]) -> None:
    model = planted_norms(**choice)
    embedded, *rest = (state[:, 1:].norm(dim=-1).mean() for state in watched(model, "resid_pre"))
    assert all(0.5 * embedded < norm < 5 * embedded for norm in rest)
    logits = model.logits(TOKENS)
    assert logits.isfinite().all()
    assert logits.std() > 0.1


def test_the_same_choice_is_the_same_model() -> None:
    one, again, other = planted_norms(), planted_norms(), planted_norms(seed=1)
    assert one.source.weights_sha256 == again.source.weights_sha256 != other.source.weights_sha256
