"""Merged weights predict what the transformer predicts, gradients included."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mesascope.models import RegressionConfig, RegressionTransformer, gd_transformer
from mesascope.models.own import merged
from mesascope.models.own.merged import can_merge, merged_readouts, predict_stack
from torch import Tensor
from torch.func import functional_call

MERGED: dict[str, dict[str, Any]] = {
    "one layer": {},
    "heads": {"n_heads": 3},
    "several outputs": {"d_out": 2, "n_heads": 2, "n_layers": 2},
    "tied layers": {"n_layers": 3},
    "own layers": {"n_layers": 3, "tied": False, "n_heads": 2},
    "dampened": {"n_layers": 2, "dampening": 0.7},
    "clipped": {"n_layers": 3, "activation_clip": 0.8},
    "clipped one layer": {"activation_clip": 0.3},
    "targets only": {"n_layers": 3, "target_only": True, "d_out": 2},
    "causal": {"n_layers": 3, "causal": True, "n_heads": 2},
    "causal one layer": {"causal": True},
    "everything": {
        "n_layers": 3, "tied": False, "n_heads": 2, "d_out": 2, "dampening": 0.6, "activation_clip": 1.0,
        "target_only": True, "causal": True,
    },
}  # fmt: skip
AS_WRITTEN: dict[str, dict[str, Any]] = {
    "softmax": {"softmax": True, "n_heads": 2, "n_layers": 2},
    "layer norm": {"layer_norm": True, "n_layers": 2, "tied": False},
    "tied layer norm": {"layer_norm": True},
    "query in context": {"query_in_context": True, "n_layers": 2},
    "causal layer norm": {"causal": True, "layer_norm": True, "n_layers": 3, "tied": False},
}


def one_by_one(config: RegressionConfig, parameters: dict[str, Tensor], inputs: Tensor) -> Tensor:
    """Every model through the transformer itself."""
    blank = RegressionTransformer(config, {name: torch.zeros(shape) for name, shape in config.shapes.items()})
    rows = [{name: weight[i] for name, weight in parameters.items()} for i in range(len(parameters["W_Q"]))]
    return torch.stack([functional_call(blank, row, (inputs,)) for row in rows])


def as_written(config: RegressionConfig, KQ: Tensor, PV: Tensor, inputs: Tensor) -> Tensor:
    return torch.stack(
        [RegressionTransformer.from_products(config, *pair)(inputs) for pair in zip(KQ, PV, strict=True)]
    )


def products(config: RegressionConfig, dtype: torch.dtype = torch.float64) -> tuple[Tensor, Tensor]:
    """Of four models."""
    shape, rng = (2, 4, *config.shapes["W_Q"][:2], config.d_model, config.d_model), torch.Generator().manual_seed(5)
    KQ, PV = torch.randn(shape, generator=rng, dtype=torch.float64) * 0.4
    return KQ.to(dtype), PV.to(dtype)


LINEAR = MERGED | {"query in context": AS_WRITTEN["query in context"]}


@pytest.mark.parametrize("settings", LINEAR.values(), ids=LINEAR)
def test_a_stack_of_products_predicts_what_each_model_does(settings, random_inputs) -> None:
    config = RegressionConfig(**({"d_in": 3} | settings))
    inputs = random_inputs(config.d_model, n_tasks=7)
    KQ, PV = (held.requires_grad_() for held in products(config))
    ours, theirs = predict_stack(config, KQ, PV, inputs), as_written(config, KQ, PV, inputs)
    assert (theirs[0] - theirs[1]).abs().max() > 0.1
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    if can_merge(config):  # modules hold copies, through which no gradient passes
        parameters = {"W_Q": KQ, "W_K": torch.eye(config.d_model).to(KQ).expand_as(KQ), "W_V": None, "W_O": PV}
        parameters["W_V"] = parameters["W_K"]
        wide = RegressionConfig(**{**config.as_dict(), "d_head": config.d_model})
        slow = one_by_one(wide, parameters, inputs)
        for a, b in zip(*(torch.autograd.grad(p.square().sum(), [KQ, PV]) for p in (ours, slow)), strict=True):
            torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)


def test_more_heads_than_the_configuration_has_are_all_read(random_inputs) -> None:
    config = RegressionConfig(d_in=3)
    KQ, PV = (torch.cat([held, 2 * held], dim=2) for held in products(config))
    inputs = random_inputs(4)
    torch.testing.assert_close(
        predict_stack(config, KQ, PV, inputs), as_written(config, KQ, PV, inputs), rtol=1e-12, atol=1e-12
    )


def test_long_contexts_take_the_other_order_of_products() -> None:
    config = RegressionConfig(d_in=3, n_layers=2)
    inputs = 0.3 * torch.randn(5, 40, 4, generator=torch.Generator().manual_seed(7), dtype=torch.float64)
    KQ, PV = products(config)
    torch.testing.assert_close(
        predict_stack(config, KQ, PV, inputs), as_written(config, KQ, PV, inputs), rtol=1e-11, atol=1e-11
    )


def test_merging_what_does_not_merge_would_be_wrong(random_inputs, random_model) -> None:
    for settings in AS_WRITTEN.values():
        model = random_model(**settings)
        inputs = random_inputs(model.config.d_model)
        assert merged.merged(model) is model
        KQ, PV = model.W_Q @ model.W_K.mT, model.W_V @ model.W_O
        wrong = merged._predict_products(model.config, KQ[None], PV[None], inputs[None])[0]
        assert (wrong - model(inputs)).abs().max() > 1e-3


def test_constructed_gradient_descent_survives_merging() -> None:
    model = gd_transformer(n_context=8, learning_rate=2.0, d_in=3, d_out=2, n_layers=4)
    inputs = torch.randn(6, 9, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    torch.testing.assert_close(merged.merged(model)(inputs), model(inputs), rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("layers", [1, 2])
def test_half_precision_is_computed_as_written(layers: int, random_inputs, random_model) -> None:
    config, model = RegressionConfig(d_in=3, n_layers=layers), random_model(n_layers=layers).bfloat16()
    KQ, PV = products(config, torch.bfloat16)
    inputs = random_inputs(4).bfloat16()
    assert torch.equal(predict_stack(config, KQ, PV, inputs), as_written(config, KQ, PV, inputs))
    assert merged.merged(model) is model


@pytest.mark.parametrize("settings", LINEAR.values(), ids=LINEAR)
def test_one_model_is_merged(settings, random_inputs, random_model) -> None:
    model = random_model(**settings)
    inputs = random_inputs(model.config.d_model)
    torch.testing.assert_close(merged.merged(model)(inputs), model(inputs), rtol=1e-12, atol=1e-12)


def test_layers_in_float32_are_merged_only_where_there_is_one(random_model) -> None:
    one, two = random_model().float(), random_model(n_layers=2)
    assert merged.merged(one) is not one
    assert merged.merged(two) is not two
    assert merged.merged(two.float()) is two


TARGETS_ONLY: dict[str, dict[str, Any]] = {
    "tied": {"n_layers": 4},
    "wide labels, heads": {"n_layers": 3, "d_out": 2, "n_heads": 2, "tied": False, "dampening": 0.7},
    "causal, one layer": {"causal": True},
    "clipped": {"n_layers": 3, "activation_clip": 0.5},
    "softmax": {"n_layers": 2, "softmax": True},
    "causal": {"n_layers": 3, "causal": True},
}


@pytest.mark.parametrize("settings", TARGETS_ONLY.values(), ids=TARGETS_ONLY)
def test_readouts_of_moments_are_those_of_tokens(settings, random_inputs, random_model, monkeypatch) -> None:
    model = random_model(target_only=True, **settings)
    inputs = random_inputs(model.config.d_model, tokens=6)
    expected = model.predict_layers(inputs)
    by_tokens = "clip" in str(settings) or "softmax" in settings or model.config.order_matters
    if not by_tokens:
        monkeypatch.setattr(RegressionTransformer, "predict_layers", None)
    before = inputs.clone()
    torch.testing.assert_close(merged_readouts(model, inputs), expected, rtol=1e-11, atol=1e-11)
    assert torch.equal(inputs, before)


def test_readouts_of_layers_that_write_everywhere_are_those_of_tokens(random_inputs, random_model) -> None:
    model = random_model(n_layers=3)
    inputs = random_inputs(model.config.d_model)
    assert torch.equal(merged_readouts(model, inputs), model.predict_layers(inputs))


def test_readouts_of_moments_overflow_where_those_of_tokens_do(random_inputs) -> None:
    step = gd_transformer(n_context=4, learning_rate=4e3, d_in=3).config
    steep = {**step.as_dict(), "n_layers": 20, "target_only": True}
    parameters = dict(gd_transformer(n_context=4, learning_rate=4e3, d_in=3).float().named_parameters())
    model, inputs = RegressionTransformer(RegressionConfig(**steep), parameters), random_inputs(4).float()
    found, expected = merged_readouts(model, inputs), model.predict_layers(inputs)
    assert torch.isfinite(found[2]).all()
    assert not torch.isfinite(found[-1]).any()
    assert torch.equal(torch.isfinite(found), torch.isfinite(expected))
