"""Models without the mechanism: what they share with the model, and what they do not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
from mesascope.models import SoftmaxRegressor, from_softmax_predictor
from mesascope.probes.softmax_regression.nulls import null_comparisons, shuffled_tasks, untrained_layers
from mesascope.probes.softmax_regression.setup import Setup

SetupOf = Callable[..., Setup]


def test_untrained_layers_have_the_recipes_scale(step_layer: SoftmaxRegressor, setup_of: SetupOf) -> None:
    step_layer.source = replace(step_layer.source, record={"recipe": {"init_scale": 0.3}})
    layers = untrained_layers(setup_of(step_layer))
    weights = torch.cat([one.module.W_KQ.flatten() for one in layers])
    assert len(layers) == 50
    assert float(weights.std()) == pytest.approx(0.3, rel=0.05)
    assert {one.dtype for one in layers} == {step_layer.dtype}


def test_seeds_of_a_family_draw_their_own(fresh_layer: SoftmaxRegressor, setup_of: SetupOf) -> None:
    def first(seed: int | None) -> torch.Tensor:
        fresh_layer.source = replace(fresh_layer.source, seed=seed)
        return untrained_layers(setup_of(fresh_layer))[0].module.W_KQ

    assert torch.equal(first(None), first(0))
    assert not torch.equal(first(1), first(2))


def test_shuffled_b_has_the_same_numbers_in_another_order(step_layer: SoftmaxRegressor, setup_of: SetupOf) -> None:
    setup = setup_of(step_layer)
    drawn = list(shuffled_tasks(setup))
    assert len(drawn) == 20
    for shuffled in drawn[:3]:
        assert torch.equal(shuffled.inputs, setup.splits.nulls.inputs)
        assert not torch.equal(shuffled.targets, setup.splits.nulls.targets)
        torch.testing.assert_close(
            shuffled.targets.sort(dim=1).values, setup.splits.nulls.targets.sort(dim=1).values, rtol=0, atol=0
        )


def test_nulls_are_compared_with_the_true_tasks(step_layer: SoftmaxRegressor, setup_of: SetupOf) -> None:
    setup = setup_of(step_layer)
    found = null_comparisons(setup, setup.fitted()[0], untrained_layers(setup))
    for comparisons in found.values():
        for one in comparisons:
            assert torch.equal(one.targets, setup.splits.nulls.targets)
    near_uniform = np.stack([one.model.prediction.numpy() for one in found["untrained"]])
    np.testing.assert_allclose(near_uniform, 1 / 8, atol=0.05)
    assert all(one.candidates is found["shuffled b"][0].candidates for one in found["untrained"])


def test_a_predictor_has_no_untrained_twin(setup_of: SetupOf) -> None:
    setup = setup_of(from_softmax_predictor(lambda A, b: b, d_in=4))
    assert untrained_layers(setup) == []
    assert list(null_comparisons(setup, setup.fitted()[0], [])) == ["shuffled b"]
