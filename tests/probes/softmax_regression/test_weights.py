"""The KQ block, distances from the construction, and the way there."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from mesascope.models import NotApplicable, SoftmaxLayer, SoftmaxLayerConfig, SoftmaxRegressor, softmax_gradient_layer
from mesascope.probes.softmax_regression import weights
from mesascope.probes.softmax_regression.nulls import untrained_layers
from mesascope.probes.softmax_regression.setup import Setup
from mesascope.probes.softmax_regression.weight_measures import weight_measures
from mesascope.probes.softmax_regression.weights import KQBlock

N, D, RATE = 8, 4, 12.0


def layer(block: torch.Tensor, last: float = 2.0) -> SoftmaxLayer:
    W_KQ, w_V = torch.zeros(D + 1, D + 1, dtype=torch.float64), torch.zeros(D + 1, dtype=torch.float64)
    W_KQ[:D, :D], w_V[D] = block, last
    return SoftmaxLayer(SoftmaxLayerConfig(D), {"W_KQ": W_KQ, "w_V": w_V})


def test_a_multiple_of_the_identity_and_what_is_none(rng: np.random.Generator) -> None:
    identity = KQBlock.of(layer(-0.3 * torch.eye(D)))
    assert (identity.sharpness, identity.distance, identity.off_diagonal) == (pytest.approx(-0.3), 0, 0)
    matrix = rng.normal(size=(D, D)) + np.eye(D)
    found = KQBlock.of(layer(torch.from_numpy(matrix)))
    mean = np.trace(matrix) / D
    assert found.distance == pytest.approx(np.linalg.norm(matrix - mean * np.eye(D)) / np.linalg.norm(matrix))
    off = np.abs(matrix[~np.eye(D, dtype=bool)]).mean()
    assert found.off_diagonal == pytest.approx(off / abs(mean))
    # no other multiple is nearer
    assert (
        min(np.linalg.norm(matrix - s * np.eye(D)) for s in np.linspace(-3, 3, 601))
        >= found.distance * (np.linalg.norm(matrix)) - 1e-3
    )


def test_rotated_queries_keep_the_size_and_lose_the_identity() -> None:
    block = KQBlock.of(layer(0.5 * torch.eye(D)))
    rotated = [block.turned(torch.Generator().manual_seed(seed)) for seed in range(200)]
    assert [float(one.block.norm()) for one in rotated] == pytest.approx([1.0] * 200)
    assert np.mean([one.sharpness for one in rotated]) == pytest.approx(0, abs=0.05)
    assert np.mean([one.distance for one in rotated]) > 0.8


def test_the_construction_has_the_rate_that_was_written() -> None:
    for scale in (1.0, 4.0):
        written = softmax_gradient_layer(N, RATE, D, 0.1, scale)
        assert weights.written_rate(written, N) == pytest.approx(RATE)
        found = weights.construction(written, N, RATE)
        assert isinstance(found, SoftmaxLayer)
        torch.testing.assert_close(found.W_KQ, written.W_KQ)
        torch.testing.assert_close(found.w_V, written.w_V)
        assert weights.live_distance(written, found) == pytest.approx(0, abs=1e-7)


def test_without_a_sharpness_there_is_no_construction() -> None:
    skew = torch.tensor([[0.0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 1], [0, 0, -1, 0]])
    assert isinstance(weights.construction(layer(skew), N, RATE), NotApplicable)
    assert isinstance(weights.construction(layer(torch.zeros(D, D)), N, RATE), NotApplicable)


def test_the_distance_is_that_of_the_tensor_product_over_live_entries(rng: np.random.Generator) -> None:
    config = SoftmaxLayerConfig(D)
    one, other = (
        SoftmaxLayer(config, {name: torch.from_numpy(rng.normal(size=shape)) for name, shape in config.shapes.items()})
        for _ in range(2)
    )
    products = [np.multiply.outer(m.W_KQ.numpy()[:D], m.w_V.numpy()) for m in (one, other)]
    expected = np.linalg.norm(products[0] - products[1]) / np.linalg.norm(products[1])
    assert weights.live_distance(one, other) == pytest.approx(expected)
    one.W_KQ[-1] += 100  # never read
    assert weights.live_distance(one, other) == pytest.approx(expected)


def test_scale_of_both_factors_is_no_matter_to_the_distance_of_the_product() -> None:
    start, end = softmax_gradient_layer(N, RATE, D, 0.1), softmax_gradient_layer(N, 2 * RATE, D, 0.1)
    assert weights.live_distance(start, end) == pytest.approx(0.5)


def test_the_way_begins_at_the_layer_and_ends_at_the_construction(
    step_layer: SoftmaxRegressor, setup_of: Callable[..., Setup]
) -> None:
    setup = setup_of(step_layer)
    measures, arrays = weight_measures(setup, untrained_layers(setup), 3 * RATE)
    tasks, path = setup.splits.nulls, measures["loss_path"]
    end = softmax_gradient_layer(N, 3 * RATE, D, 1e-3)
    for t, model in ((0.0, step_layer.module), (1.0, end)):  # type: ignore[attr-defined]
        loss = 0.5 * (model(tasks.inputs, tasks.targets) - tasks.targets).square().sum(dim=1).mean()
        assert path.sel(t=t).estimate == pytest.approx(float(loss), rel=1e-9)
    assert measures["loss_interpolated"].estimate == path.sel(t=0.5).estimate
    line = np.linspace(path.values[0], path.values[-1], 21)
    assert measures["barrier"].estimate == pytest.approx((path.values - line).max())
    assert measures["weight_distance_gd"].estimate == pytest.approx(2 / 3)
    assert measures["learning_rate_written"].estimate == pytest.approx(RATE)
    assert arrays["KQ_block"].shape == (D, D)
    assert measures["KQ_identity_distance"].nulls["untrained"].min() > 0.5 > measures["KQ_identity_distance"].estimate


def test_an_untrained_layer_has_no_path(fresh_layer: SoftmaxRegressor, setup_of: Callable[..., Setup]) -> None:
    setup = setup_of(fresh_layer)
    measures, _ = weight_measures(setup, untrained_layers(setup), RATE)
    assert {measures[name].status for name in ("loss_path", "barrier", "weight_distance_gd")} == {"undefined"}
    assert "not near a multiple of the identity" in measures["barrier"].message
    assert measures["KQ_identity_distance"].estimate > 0.5
