"""Transformers side by side answer what each answers alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from mesascope.models import RegressionTransformer
from mesascope.models.own.regression_transformer import with_label_last
from mesascope.models.own.stacked import StackedTransformers
from torch import Tensor

VARIANTS: dict[str, dict[str, Any]] = {
    "linear": {"n_layers": 2},
    "heads": {"n_heads": 3, "d_out": 2, "tied": False, "n_layers": 2},
    "softmax": {"softmax": True, "layer_norm": True, "n_layers": 2},
    "query in context": {"query_in_context": True},
    "clipped": {"activation_clip": 0.4},
}
Make = Callable[..., RegressionTransformer]
Inputs = Callable[..., Tensor]


@pytest.mark.parametrize("settings", VARIANTS.values(), ids=VARIANTS)
@pytest.mark.parametrize("batch_size", [1, 4, 100])
def test_a_stack_answers_as_each_of_its_models(
    random_model: Make, random_inputs: Inputs, settings: dict[str, Any], batch_size: int
) -> None:
    models = [random_model(seed, **settings) for seed in range(3)]
    inputs = random_inputs(models[0].config.d_model, n_tasks=6)
    found = StackedTransformers.of(models).predict(inputs, batch_size)
    expected = torch.stack([model(inputs) for model in models])
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert (expected[0] - expected[1]).abs().max() > 0.1


@pytest.mark.parametrize("slot", [0, 2])
def test_a_stack_reads_labels_elsewhere_as_each_of_its_models(
    random_model: Make, random_inputs: Inputs, slot: int
) -> None:
    models = [random_model(seed, softmax=True, layer_norm=True) for seed in range(2)]
    inputs, stack = random_inputs(4), StackedTransformers.of(models)
    found = stack.with_label_last(slot).predict(inputs, 8)
    expected = torch.stack([with_label_last(model, slot)(inputs) for model in models])
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
    assert (found - stack.predict(inputs, 8)).abs().max() > 0.01
