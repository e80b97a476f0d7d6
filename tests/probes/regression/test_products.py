"""The products of heads, which of their entries reach an answer, and untrained weights without tasks."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from mesascope.models import (
    NotApplicable,
    RegressionConfig,
    RegressionTransformer,
    TokenLayout,
    from_predictor,
    from_transformer,
    initialise,
)
from mesascope.probes import GDAlignment
from mesascope.probes.regression.nulls import untrained_models, untrained_modules
from mesascope.probes.regression.products import linear_attention_of, live_entries, module_products, products


def module(**settings: Any) -> RegressionTransformer:
    return initialise(RegressionConfig(d_in=3, d_head=4, **settings), 0.5, torch.Generator().manual_seed(1))


def test_products_are_those_of_the_weights() -> None:
    made = module(n_heads=2, n_layers=2, tied=False)
    held = module_products(made)
    assert held.KQ.shape == held.PV.shape == (2, 2, 4, 4)
    for block in range(2):
        for head in range(2):
            W_Q, W_K, W_V, W_O = (getattr(made, f"W_{role}")[block, head] for role in "QKVO")
            torch.testing.assert_close(held.KQ[block, head], W_Q @ W_K.T, rtol=1e-13, atol=1e-15)
            torch.testing.assert_close(held.PV[block, head], W_V @ W_O, rtol=1e-13, atol=1e-15)
    assert not held.single_head
    assert module_products(made.float()).KQ.dtype == torch.float64


@pytest.mark.parametrize("settings", [{}, {"n_layers": 2}, {"n_layers": 3, "tied": False}, {"target_only": True}])
@pytest.mark.parametrize("label_set", [False, True])
def test_exactly_the_live_entries_reach_an_answer(settings: dict[str, Any], label_set: bool) -> None:
    made = module(**settings)
    held, live = module_products(made), live_entries(made.config, label_set)
    tokens = torch.randn(8, 6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    if not label_set:
        tokens[:, -1, 3] = 0

    def answers(KQ: torch.Tensor, PV: torch.Tensor) -> torch.Tensor:
        return RegressionTransformer.from_products(made.config, KQ, PV)(tokens)

    plain = answers(held.KQ, held.PV)
    for block in range(made.config.n_blocks):
        for place in [(i, j) for i in range(4) for j in range(4)]:
            KQ, PV = held.KQ.clone(), held.PV.clone()
            KQ[(block, 0, *place)] += 0.5
            assert (not torch.equal(answers(KQ, held.PV), plain)) == bool(live.KQ[(block, *place)])
            PV[(block, 0, *place)] += 0.5
            assert (not torch.equal(answers(held.KQ, PV), plain)) == bool(live.PV[(block, *place)])


def test_why_there_are_none() -> None:
    refused = (
        ({"softmax": True}, "softmax attention"),
        ({"layer_norm": True}, "no layer norm"),
        ({"causal": True, "n_layers": 2}, "a causal mask: its context tokens do not attend to later ones"),
    )
    for settings, words in refused:
        subject = from_transformer(module(**settings))
        for answer in (products(subject), linear_attention_of(subject)):
            assert isinstance(answer, NotApplicable)
            assert words in answer.reason
    predictor = from_predictor(lambda tokens: tokens[:, -1, :1], TokenLayout(3))
    assert isinstance(products(predictor), NotApplicable)
    for linear in (from_transformer(module()), from_transformer(module(causal=True))):  # one layer's mask does nothing
        assert linear_attention_of(linear) is linear


@pytest.mark.parametrize("record", [{}, {"recipe": {"init_scale": 0.3}}])
def test_untrained_weights_are_those_of_untrained_models(record: dict[str, Any]) -> None:
    subject = from_transformer(module(n_layers=2).float())
    subject.source = replace(subject.source, record=record, seed=4)
    examined = GDAlignment(limit=10, n_context=6).examined(subject, seed=7, batch_size=64)
    modules = list(untrained_modules(subject, seed=7))
    assert len(modules) == 50
    scale = record["recipe"]["init_scale"] if record else 0.001
    assert float(torch.cat([one.W_Q.flatten() for one in modules]).std()) == pytest.approx((scale / 4) ** 0.5, rel=0.03)
    for light, full in zip(modules, untrained_models(examined), strict=True):
        assert light.W_Q.dtype == torch.float64
        if full.reading.layout.slot == 3:
            assert torch.equal(light.W_Q.float(), full.module.W_Q)
