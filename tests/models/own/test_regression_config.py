"""Configurations of the regression transformer, and fresh weights for them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data import CheckpointRefused
from mesascope.models import RegressionConfig, RegressionTransformer, initialise
from mesascope.models.subject import Site
from torch import Tensor

from .variants import each_variant

Make = Callable[..., RegressionTransformer]
Inputs = Callable[..., Tensor]
Loops = Callable[..., np.ndarray]
SITES: tuple[Site, ...] = ("resid_pre", "q", "k", "v", "pattern", "z", "attn_out", "resid_post")


# ---- configuration and fresh weights ----


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({}, "d_in is missing"),
        ({"d_in": 3, "n_layer": 2}, "'n_layer' is not known; did you mean n_layers"),
        ({"d_in": 3, "mlp": True}, "mlp = True; expected shared, own or none"),
        ({"d_in": 3, "mlp": "own", "n_layers": 2}, 'mlp = "own" with tied layers; expected "shared"'),
        ({"d_in": 3, "linear_from": 1}, "linear_from = 1 without softmax"),
        ({"d_in": 3, "d_position": 3}, "d_position = 3; expected an even number"),
        ({"d_in": 2, "d_out": 3, "token_order": "interleaved"}, "interleaved tokens with d_out = 3 above d_in = 2"),
        ({"d_in": 3.0}, "d_in = 3.0"),
        ({"d_in": "3"}, "d_in = '3'"),
        ({"d_in": True}, "d_in = True"),
        ({"d_in": None}, "d_in = None"),
        ({"d_in": 0}, "d_in = 0; expected a whole number of at least 1"),
        ({"d_in": 3, "n_layers": -1}, "n_layers = -1"),
        ({"d_in": 3, "n_layers": 10**9}, "expected a whole number from 1 to"),
        ({"d_in": 3, "n_heads": [2]}, "n_heads"),
        ({"d_in": 3, "softmax": 1}, "softmax = 1"),
        ({"d_in": 3, "softmax": "false"}, "softmax = 'false'"),
        ({"d_in": 3, "dampening": None}, "dampening = None"),
        ({"d_in": 3, "dampening": True}, "dampening = True"),
        ({"d_in": 3, "dampening": math.nan}, "dampening = nan"),
        ({"d_in": 3, "dampening": -math.inf}, "dampening = -inf"),
        ({"d_in": 3, "dampening": 10**400}, "dampening = 1"),
        ({"d_in": 3, "activation_clip": 0.0}, "activation_clip = 0.0"),
        ({"d_in": 3, "activation_clip": -1}, "activation_clip = -1; expected a number above 0 or none"),
        ({"d_in": 3, "activation_clip": math.nan}, "activation_clip = nan"),
        ({"d_in": 3, "activation_clip": math.inf}, "activation_clip = inf"),
        ({"d_in": 3, "activation_clip": "2"}, "activation_clip = '2'"),
    ],
)
def test_a_configuration_that_is_not_understood_is_refused_by_name(values: dict[str, Any], message: str) -> None:
    with pytest.raises(CheckpointRefused) as caught:
        RegressionConfig.from_dict(values)
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


@each_variant
def test_a_configuration_survives_being_a_dictionary(settings: dict[str, Any]) -> None:
    config = RegressionConfig(**({"d_in": 3} | settings))
    assert RegressionConfig.from_dict(config.as_dict()) == config


def test_whole_numbers_are_numbers() -> None:
    config = RegressionConfig.from_dict({"d_in": 3, "dampening": 1, "activation_clip": 2})
    assert config == RegressionConfig(d_in=3, dampening=1.0, activation_clip=2.0)
    assert isinstance(config.dampening, float)


@each_variant
def test_parameters_must_be_those_of_the_configuration(
    random_parameters: Callable[..., dict[str, Tensor]], settings: dict[str, Any]
) -> None:
    config = RegressionConfig(**({"d_in": 3, "d_head": 4} | settings))
    parameters = random_parameters(config)
    for name, tensor in parameters.items():
        others = {key: value for key, value in parameters.items() if key != name}
        for wrong in (others, parameters | {"b_Q": tensor}):
            with pytest.raises(CheckpointRefused, match="do not match the configuration"):
                RegressionTransformer(config, wrong)
        for shape in (tensor[None], tensor[..., :-1], torch.cat([tensor, tensor])):
            with pytest.raises(CheckpointRefused, match=f"{name} has shape"):
                RegressionTransformer(config, others | {name: shape})


@pytest.mark.parametrize("n_heads", [1, 3])
def test_fresh_weights_have_the_authors_variance_and_are_cut_off(n_heads: int) -> None:
    """Variance scale / fan-in after truncation at two standard deviations of the normal before it."""
    config = RegressionConfig(d_in=90, d_out=10, n_layers=2, tied=False, n_heads=n_heads, d_head=60)
    model = initialise(config, scale=0.002, rng=torch.Generator().manual_seed(0))
    for name, fan_in in {"W_Q": 100, "W_K": 100, "W_V": 100, "W_O": 60 * n_heads}.items():
        weight = model.get_parameter(name)
        variance = 0.002 / fan_in
        std_before = math.sqrt(variance) / 0.87962566103423978
        assert weight.dtype == torch.float64
        assert weight.var().item() == pytest.approx(variance, rel=0.03)
        assert abs(weight.mean().item()) < 4 * math.sqrt(variance / weight.numel())
        assert weight.abs().max().item() <= 2 * std_before
        assert weight.abs().max().item() > 1.99 * std_before
    assert len({model.get_parameter(name).flatten()[0].item() for name in ("W_Q", "W_K", "W_V", "W_O")}) == 4


def test_fresh_weights_come_from_the_generator_alone() -> None:
    config = RegressionConfig(d_in=3, n_layers=3, tied=False, layer_norm=True)
    torch.manual_seed(1)
    first = initialise(config, 0.01, torch.Generator().manual_seed(5)).state_dict()
    before = torch.get_rng_state()
    second = initialise(config, 0.01, torch.Generator().manual_seed(5)).state_dict()
    other = initialise(config, 0.01, torch.Generator().manual_seed(6)).state_dict()
    assert torch.equal(before, torch.get_rng_state())
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not torch.equal(first["W_Q"], other["W_Q"])
    assert torch.equal(first["ln_scale"], torch.ones(2, 4, dtype=torch.float64))
    assert torch.equal(first["ln_offset"], torch.zeros(2, 4, dtype=torch.float64))


@each_variant
def test_context_and_query_apart_give_the_same_prediction_and_its_gradient(
    random_model: Make, random_inputs: Inputs, settings: dict[str, Any]
) -> None:
    model = random_model(**settings)
    inputs = random_inputs(model.config.d_in + model.config.d_out)
    context, query = inputs[:, :-1].clone().requires_grad_(), inputs[:, -1:].clone().requires_grad_()
    prediction, whole = model.predict_query(inputs[:, :-1], query), model(torch.cat([context, query], dim=1))
    assert torch.equal(prediction, whole)
    (apart,), (together, of_context) = (
        torch.autograd.grad(prediction.square().sum(), [query]),
        torch.autograd.grad(whole.square().sum(), [query, context]),
    )
    assert apart.abs().max() > 1e-3
    torch.testing.assert_close(apart, together, rtol=1e-12, atol=1e-12)
    assert of_context.abs().max() > 1e-3  # a pass over whole inputs keeps the gradient of every token
