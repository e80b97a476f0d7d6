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
from mesascope.models import RegressionTransformer
from mesascope.models.subject import Site
from torch import Tensor

from .variants import each_variant

Make = Callable[..., RegressionTransformer]
Inputs = Callable[..., Tensor]
Loops = Callable[..., np.ndarray]
SITES: tuple[Site, ...] = ("resid_pre", "q", "k", "v", "pattern", "z", "attn_out", "resid_post")


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
