"""The pass that trains predicts what the transformer predicts, and has its gradient, in both orders of memory."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from mesascope.models import RegressionConfig, RegressionTransformer
from mesascope.models.own.memory_orders import Columns, Order, Rows, quickest_order
from mesascope.models.own.training_pass import CACHE, TrainingPass, merge, tasks_at_once
from torch import Tensor
from torch.func import functional_call

from .variants import VARIANTS

MORE: dict[str, dict[str, Any]] = {
    "causal, heads": {"causal": True, "n_heads": 3, "n_layers": 3, "tied": False},
    "causal, softmax": {"causal": True, "softmax": True, "n_layers": 2},
    "query in context, causal": {"causal": True, "query_in_context": True, "n_layers": 2},
    "target only, heads, MLP": {"target_only": True, "n_heads": 2, "n_layers": 2, "mlp": "shared"},
    "clip that most tokens pass": {"activation_clip": 2.5, "n_layers": 2},
    "codes behind an embedding": {"d_embed": 5, "d_position": 4, "n_layers": 2, "tied": False},
    "everything that is linear": {
        "n_layers": 3, "tied": False, "n_heads": 2, "d_out": 2, "dampening": 0.6, "activation_clip": 1.0,
        "target_only": True, "causal": True,
    },
}  # fmt: skip
each_variant = pytest.mark.parametrize("settings", (VARIANTS | MORE).values(), ids=VARIANTS | MORE)
each_order = pytest.mark.parametrize("order", [Rows, Columns])


def case(settings: dict[str, Any], random_parameters: Callable[..., dict[str, Tensor]]) -> tuple:
    config = RegressionConfig(**({"d_in": 3, "d_head": 4} | settings))
    parameters = {name: weight.requires_grad_() for name, weight in random_parameters(config, 1).items()}
    rng = torch.Generator().manual_seed(7)
    inputs = torch.randn(5, 6, config.d_in + config.d_out, generator=rng, dtype=torch.float64)
    return config, parameters, inputs


def as_written(config: RegressionConfig, parameters: dict[str, Tensor], inputs: Tensor) -> Tensor:
    blank = RegressionTransformer(config, {name: torch.zeros(shape) for name, shape in config.shapes.items()})
    return functional_call(blank, parameters, (inputs,))


def predicted(config: RegressionConfig, parameters: dict[str, Tensor], inputs: Tensor, order: Order) -> Tensor:
    return TrainingPass(config, merge(config, parameters), order).predict(inputs.permute(2, 1, 0)).T


def gradients(predictions: Tensor, parameters: dict[str, Tensor]) -> tuple[Tensor, ...]:
    targets = torch.linspace(-1, 1, predictions.numel()).view_as(predictions)
    return torch.autograd.grad((predictions - targets).square().sum(), list(parameters.values()))


@each_order
@each_variant
def test_predictions_and_gradients_are_the_transformers(settings, order: Order, random_parameters) -> None:
    config, parameters, inputs = case(settings, random_parameters)
    ours, theirs = predicted(config, parameters, inputs, order), as_written(config, parameters, inputs)
    assert theirs.abs().max() > 0.1
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    found, expected = gradients(ours, parameters), gradients(theirs, parameters)
    for name, a, b in zip(parameters, found, expected, strict=True):
        assert b.abs().max() > 0, name
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12 * max(1.0, float(b.abs().max())))


@each_order
def test_a_clip_is_where_it_is_and_nowhere_else(order: Order, random_parameters) -> None:
    """Where no number of a layer is beyond the bounds, where some are, and where one is not a number."""
    config, parameters, inputs = case({"n_layers": 2, "activation_clip": 1.0}, random_parameters)
    free = RegressionConfig(**{**config.as_dict(), "activation_clip": None})
    small = inputs * 0.05
    assert torch.equal(predicted(config, parameters, small, order), predicted(free, parameters, small, order))
    inputs[0, 0, 0] = 30.0
    inputs[1, 0, 0] = torch.nan
    ours, theirs = predicted(config, parameters, inputs, order), as_written(config, parameters, inputs)
    assert theirs[1].isnan().all()
    assert theirs[0].abs().max() == 1.0
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12, equal_nan=True)


@each_order
@pytest.mark.parametrize("causal", [False, True])
def test_contexts_may_be_longer_than_a_token_is_wide(order: Order, causal: bool, random_parameters) -> None:
    config, parameters, _ = case({"n_layers": 2, "causal": causal}, random_parameters)
    rng = torch.Generator().manual_seed(3)
    inputs = 0.2 * torch.randn(3, 40, 4, generator=rng, dtype=torch.float64)
    expected = as_written(config, parameters, inputs)
    torch.testing.assert_close(predicted(config, parameters, inputs, order), expected, rtol=1e-11, atol=1e-11)


def test_inputs_may_lie_anywhere_in_memory_and_stay_as_they_are(random_parameters) -> None:
    config, parameters, inputs = case({"n_layers": 2}, random_parameters)
    before, apart = inputs.clone(), torch.stack([inputs, inputs], dim=-1)[..., 0]
    for order in (Rows, Columns):
        assert torch.equal(
            predicted(config, parameters, apart, order), predicted(config, parameters, inputs.contiguous(), order)
        )
    assert torch.equal(inputs, before)


def test_narrow_models_keep_tasks_last_and_only_on_the_cpu() -> None:
    cpu, elsewhere = torch.device("cpu"), torch.device("meta")
    narrow, wide = RegressionConfig(d_in=14), RegressionConfig(d_in=15)
    assert quickest_order(narrow, cpu) is Columns
    assert quickest_order(wide, cpu) is Rows
    assert quickest_order(narrow, elsewhere) is Rows


def test_so_many_tasks_at_once_as_stay_in_the_cache() -> None:
    assert tasks_at_once(RegressionConfig(d_in=10), 10) == CACHE // (11 * 11)
    assert tasks_at_once(RegressionConfig(d_in=10, n_heads=4), 10) == CACHE // (11 * 44)
    assert tasks_at_once(RegressionConfig(d_in=10, mlp="shared"), 10) == CACHE // (11 * 44)
    assert tasks_at_once(RegressionConfig(d_in=1, d_embed=40), 10) == CACHE // (11 * 160)
    apart = RegressionConfig(d_in=10, token_order="interleaved", d_position=10)
    assert tasks_at_once(apart, 10) == CACHE // (21 * 21)
    assert tasks_at_once(RegressionConfig(d_in=10), 10**6) == 1
