"""The transformer against the authors' code written out in loops, and its activations under watch."""

from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from mesascope.data import CheckpointRefused
from mesascope.models import RegressionConfig, RegressionTransformer, initialise
from mesascope.models.subject import Site
from torch import Tensor

Make = Callable[..., RegressionTransformer]
Inputs = Callable[..., Tensor]
Loops = Callable[..., np.ndarray]
SITES: tuple[Site, ...] = ("resid_pre", "q", "k", "v", "pattern", "z", "attn_out", "resid_post")

VARIANTS: dict[str, dict[str, Any]] = {
    "one layer": {},
    "tied": {"n_layers": 3},
    "untied": {"n_layers": 3, "tied": False},
    "heads": {"n_heads": 3, "d_head": 2},
    "wide heads": {"n_heads": 2, "d_head": 7, "n_layers": 2, "tied": False},
    "softmax": {"softmax": True, "n_layers": 2},
    "softmax heads": {"softmax": True, "n_heads": 2, "n_layers": 2, "tied": False, "d_head": 3},
    "layer norm, tied": {"layer_norm": True, "n_layers": 3},
    "layer norm, untied": {"layer_norm": True, "n_layers": 3, "tied": False},
    "layer norm, untied, one layer": {"layer_norm": True, "tied": False},
    "clip": {"activation_clip": 0.7, "n_layers": 3},
    "dampening": {"dampening": 0.75, "n_layers": 3},
    "target only": {"target_only": True, "n_layers": 2},
    "target only, wide": {"target_only": True, "n_layers": 2, "d_out": 2},
    "query in context": {"query_in_context": True, "n_layers": 2},
    "causal": {"causal": True, "n_layers": 3, "tied": False},
    "causal, one layer": {"causal": True, "n_heads": 2},
    "causal, softmax, query in context": {"causal": True, "softmax": True, "query_in_context": True, "n_layers": 2},
    "causal, layer norm": {"causal": True, "layer_norm": True, "n_layers": 4, "tied": False, "n_heads": 2},
    "wide labels": {"d_out": 3, "n_layers": 2},
    "MLP, shared": {"mlp": "shared", "n_layers": 3, "tied": False, "n_heads": 2},
    "MLP, tied": {"mlp": "shared", "n_layers": 2, "dampening": 0.75},
    "MLP, own": {"mlp": "own", "n_layers": 2, "tied": False, "layer_norm": True},
    "MLP, layer norm, tied": {"mlp": "shared", "n_layers": 2, "layer_norm": True, "softmax": True},
    "MLP, saturating": {"mlp": "own", "n_layers": 3, "tied": False, "activation_clip": 0.4},
    "softmax, then linear": {"softmax": True, "linear_from": 1, "n_layers": 2, "tied": False},
    "positions": {"d_position": 4, "n_layers": 2},
    "separate tokens": {"separate_tokens": True, "n_layers": 2},
    "separate tokens, positions": {
        "separate_tokens": True,
        "d_position": 10,
        "softmax": True,
        "linear_from": 1,
        "n_layers": 2,
        "tied": False,
    },
    "embedding": {"d_embed": 5},
    "embedding, MLPs": {"d_embed": 5, "mlp": "own", "n_layers": 2, "tied": False, "d_out": 2},
    "everything": {
        "d_out": 2,
        "n_layers": 3,
        "tied": False,
        "n_heads": 2,
        "softmax": True,
        "layer_norm": True,
        "dampening": 0.8,
        "activation_clip": 1.5,
        "query_in_context": True,
    },
}
each_variant = pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)


@each_variant
@pytest.mark.parametrize("tokens", [2, 6, 12])
def test_predictions_after_every_layer_are_those_of_the_loops(
    random_model: Make, random_inputs: Inputs, by_loops: Loops, settings: dict[str, Any], tokens: int
) -> None:
    model = random_model(**settings)
    inputs = random_inputs(model.config.d_in + model.config.d_out, n_tasks=2, tokens=tokens)
    expected = by_loops(model, inputs)
    scale = np.abs(expected).max()
    assert np.abs(model.predict_layers(inputs).numpy() - expected).max() <= 1e-12 * scale
    assert np.abs(model(inputs).numpy() - expected[-1]).max() <= 1e-12 * scale


@each_variant
@pytest.mark.parametrize(
    "changed",
    [
        {"dampening": 0.99},
        {"activation_clip": 0.1},
        {"target_only": True},
        {"query_in_context": True},
        {"causal": True},
        {"softmax": True},
    ],
    ids=lambda changed: next(iter(changed)),
)
def test_the_loops_notice_another_setting(
    random_model: Make, random_inputs: Inputs, by_loops: Loops, settings: dict[str, Any], changed: dict[str, Any]
) -> None:
    """The comparison above could fail: each fact matters, wherever it can."""
    model = random_model(**settings)
    name, value = next(iter(changed.items()))
    if getattr(model.config, name) == value:
        return
    inputs = random_inputs(model.config.d_in + model.config.d_out)
    distance = np.abs(model.predict_layers(inputs).numpy() - by_loops(model, inputs, **changed)).max()
    # one layer's read-out is the query's target slot alone, whatever else the layer updates
    assert (distance > 1e-4) != (name in ("target_only", "causal") and model.config.n_layers == 1)


@given(
    d_in=st.integers(1, 4),
    d_out=st.integers(1, 2),
    n_layers=st.integers(1, 3),
    n_heads=st.integers(1, 3),
    d_head=st.integers(1, 5),
    flags=st.tuples(*[st.booleans()] * 6),
    dampening=st.floats(0.1, 1.5),
    activation_clip=st.none() | st.floats(0.1, 3.0),
)
def test_any_combination_agrees_with_the_loops(
    random_model: Make, random_inputs: Inputs, by_loops: Loops, flags: tuple[bool, ...], **settings: Any
) -> None:
    names = ("tied", "softmax", "layer_norm", "target_only", "query_in_context", "causal")
    model = random_model(**settings, **dict(zip(names, flags, strict=True)))
    inputs = random_inputs(model.config.d_in + model.config.d_out, n_tasks=1, tokens=4)
    expected = by_loops(model, inputs)
    assert np.abs(model.predict_layers(inputs).numpy() - expected).max() <= 1e-11 * max(1.0, np.abs(expected).max())


def devices() -> list[str]:
    return ["cpu"] + ["cuda"] * torch.cuda.is_available()


@pytest.mark.parametrize("device", devices())
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 2e-5), (torch.float64, 1e-12)])
@each_variant
def test_every_precision_and_device(
    random_model: Make,
    random_inputs: Inputs,
    by_loops: Loops,
    settings: dict[str, Any],
    dtype: torch.dtype,
    tolerance: float,
    device: str,
) -> None:
    model = random_model(**settings)
    inputs = random_inputs(model.config.d_in + model.config.d_out)
    expected = by_loops(model, inputs)[-1]
    answer = model.to(device, dtype)(inputs.to(device, dtype))
    assert answer.dtype == dtype
    assert np.abs(answer.cpu().double().numpy() - expected).max() <= tolerance * max(1.0, np.abs(expected).max())


@each_variant
def test_sensitivities_are_derivatives_of_the_prediction(
    random_model: Make, random_inputs: Inputs, settings: dict[str, Any]
) -> None:
    if settings.get("activation_clip"):
        settings = settings | {"activation_clip": 50.0}  # smooth where it is compared
    model = random_model(**settings)
    inputs = random_inputs(model.config.d_in + model.config.d_out, n_tasks=1).requires_grad_()
    (gradient,) = torch.autograd.grad(model(inputs)[0, 0], inputs)
    step = 1e-6
    for i, j in itertools.product(*map(range, inputs.shape[1:])):
        shift = torch.zeros_like(inputs)
        shift[0, i, j] = step
        difference = (model(inputs + shift) - model(inputs - shift))[0, 0].item() / (2 * step)
        assert difference == pytest.approx(gradient[0, i, j].item(), rel=1e-5, abs=1e-6)


def test_inputs_of_another_width(random_model: Make, random_inputs: Inputs) -> None:
    with pytest.raises(ValueError, match="inputs are 5 wide; expected d_in \\+ d_out = 4"):
        random_model()(random_inputs(5))


def test_a_pass_changes_neither_model_nor_inputs(random_model: Make, random_inputs: Inputs) -> None:
    model, inputs = random_model(n_layers=2, activation_clip=0.5), random_inputs(4)
    state, kept = copy.deepcopy(model.state_dict()), inputs.clone()
    model.run(
        inputs, watch={"z": lambda activation, layer: activation}, edit={"v": lambda activation, layer: 2 * activation}
    )
    assert torch.equal(inputs, kept)
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())


# ---- watching and editing ----


def keep(activation: Tensor, layer: int) -> Tensor:
    return activation


@each_variant
def test_watched_activations_rebuild_the_pass(
    random_model: Make, random_inputs: Inputs, settings: dict[str, Any]
) -> None:
    model = random_model(**settings)
    config = model.config
    inputs = random_inputs(config.d_in + config.d_out)
    sites: tuple[Site, ...] = SITES if config.mlp is None else (*SITES, "resid_mid", "mlp_out")
    trace = model.run(inputs, watch=dict.fromkeys(sites, keep))
    context = slice(None) if config.query_in_context else slice(None, -1)
    previous = inputs if config.as_given else trace.values["resid_pre"][0]
    for layer in range(config.n_layers):
        at = {site: values[layer] for site, values in trace.values.items()}
        block = 0 if config.tied else layer
        assert torch.equal(at["resid_pre"], previous)
        scores = torch.stack([q @ k.mT for q, k in zip(at["q"].unbind(1), at["k"].unbind(1), strict=True)], dim=1)
        later = torch.ones(scores.shape[-2:], dtype=torch.bool).triu(1) & config.causal
        softmax = config.softmax and not (config.linear_from and layer >= config.linear_from)
        scores = scores.masked_fill(later, -math.inf if softmax else 0.0)
        pattern = torch.softmax(scores / math.sqrt(config.d_head), dim=-1) if softmax else scores
        torch.testing.assert_close(at["pattern"], pattern, rtol=1e-12, atol=1e-13)
        torch.testing.assert_close(at["z"], pattern @ at["v"], rtol=1e-11, atol=1e-12)
        update = sum(at["z"][:, head] @ model.W_O[block, head] for head in range(config.n_heads))
        torch.testing.assert_close(at["attn_out"], update, rtol=1e-12, atol=1e-12)
        update = at["attn_out"].clone()
        if config.target_only:
            update[..., : config.d_in] = 0
        post = previous + config.dampening * update
        if config.activation_clip:
            post = post.clamp(-config.activation_clip, config.activation_clip)
        if config.mlp is not None:
            torch.testing.assert_close(at["resid_mid"], post, rtol=1e-12, atol=1e-13)
            post = post + config.dampening * at["mlp_out"]
            if config.activation_clip:
                post = post.clamp(-config.activation_clip, config.activation_clip)
        torch.testing.assert_close(at["resid_post"], post, rtol=1e-12, atol=1e-13)
        if not config.layer_norm:
            torch.testing.assert_close(at["q"][:, 0], previous @ model.W_Q[block, 0], rtol=1e-12, atol=1e-12)
            torch.testing.assert_close(
                at["k"][:, 0], previous[:, context] @ model.W_K[block, 0], rtol=1e-12, atol=1e-12
            )
            torch.testing.assert_close(
                at["v"][:, -1], previous[:, context] @ model.W_V[block, -1], rtol=1e-12, atol=1e-12
            )
        previous = at["resid_post"]
    torch.testing.assert_close(trace.output, -previous[:, -1, -config.d_out :], rtol=0, atol=0)
    torch.testing.assert_close(trace.output, model(inputs), rtol=1e-12, atol=1e-12)


def test_a_watcher_sees_each_layer_once_in_order_and_only_its_reduction_stays(
    random_model: Make, random_inputs: Inputs
) -> None:
    model = random_model(n_layers=3, n_heads=2)
    seen: list[tuple[int, tuple[int, ...]]] = []

    def note(activation: Tensor, layer: int) -> float:
        seen.append((layer, tuple(activation.shape)))
        return activation.abs().max().item()

    trace = model.run(random_inputs(4, n_tasks=3, tokens=6), watch={"pattern": note})
    assert seen == [(layer, (3, 2, 6, 5)) for layer in range(3)]
    assert list(trace.values) == ["pattern"]
    assert all(isinstance(value, float) for value in trace.values["pattern"])


def test_a_pass_without_watchers_is_the_forward_pass(random_model: Make, random_inputs: Inputs) -> None:
    model, inputs = random_model(n_layers=2), random_inputs(4)
    trace = model.run(inputs)
    assert trace.values == {}
    torch.testing.assert_close(trace.output, model(inputs), rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("site", SITES)
def test_an_edit_that_changes_nothing_changes_nothing(random_model: Make, random_inputs: Inputs, site: Site) -> None:
    model, inputs = random_model(n_layers=2, n_heads=2, softmax=True), random_inputs(4)
    assert torch.equal(model.run(inputs, edit={site: keep}).output, model.run(inputs).output)


@pytest.mark.parametrize(
    ("site", "factor"),
    [("resid_pre", 8), ("q", 2), ("k", 2), ("v", 2), ("pattern", 2), ("z", 2), ("attn_out", 2), ("resid_post", 2)],
)
def test_an_edit_replaces_the_activation(random_model: Make, random_inputs: Inputs, site: Site, factor: float) -> None:
    """Doubled anywhere, linear attention answers twice as much; doubled at its input, eight times."""
    model, inputs = random_model(), random_inputs(4)
    inputs[:, -1, 3:] = 0
    watched: list[Tensor] = []
    trace = model.run(
        inputs, watch={site: lambda activation, layer: watched.append(activation)}, edit={site: lambda a, layer: 2 * a}
    )
    torch.testing.assert_close(trace.output, factor * model(inputs), rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(watched[0], 2 * model.run(inputs, watch={site: keep}).values[site][0])  # edited first


@pytest.mark.parametrize("softmax", [False, True])
def test_ablating_a_head_of_one_layer(random_model: Make, random_inputs: Inputs, softmax: bool) -> None:
    model, inputs = random_model(n_layers=2, tied=False, n_heads=2, softmax=softmax), random_inputs(4)

    def ablate(z: Tensor, layer: int) -> Tensor:
        return torch.stack([z[:, 0], 0 * z[:, 1]], dim=1) if layer == 1 else z

    without = copy.deepcopy(model)
    without.W_O[1, 1] = 0
    torch.testing.assert_close(model.run(inputs, edit={"z": ablate}).output, without(inputs), rtol=1e-12, atol=1e-13)
    assert not torch.allclose(without(inputs), model(inputs))


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
        ({"d_in": 2, "d_out": 3, "separate_tokens": True}, "separate_tokens with d_out = 3 above d_in = 2"),
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
