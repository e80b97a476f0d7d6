"""The softmax layer by a plain pass in NumPy, and what must not matter to it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from mesascope.data import CheckpointRefused, SoftmaxRegression
from mesascope.models import SoftmaxLayer, SoftmaxLayerConfig, load, save_checkpoint
from mesascope.models.own.plain_pass import plain_softmax_regression
from mesascope.models.own.softmax_layer import initialise_softmax_layer, layer_scores
from torch import Tensor

CONFIG = SoftmaxLayerConfig(d_in=3, output_scale=2.5)


@pytest.fixture
def layer() -> SoftmaxLayer:
    return initialise_softmax_layer(CONFIG, 0.7, torch.Generator().manual_seed(0)).double()


@pytest.fixture
def tasks() -> tuple[Tensor, Tensor]:
    batch = SoftmaxRegression(n_tokens=6, d_in=3).sample(4, seed=0)
    return batch.inputs, batch.targets


def arrays(layer: SoftmaxLayer) -> dict[str, np.ndarray]:
    return {name: weight.detach().numpy() for name, weight in layer.named_parameters()}


def test_the_prediction_is_that_of_a_plain_pass(layer: SoftmaxLayer, tasks: tuple[Tensor, Tensor]) -> None:
    plain = plain_softmax_regression(CONFIG, arrays(layer), *(tensor.numpy() for tensor in tasks))
    np.testing.assert_allclose(layer(*tasks), plain, rtol=1e-12)
    np.testing.assert_allclose(plain.sum(axis=1), 1)
    assert plain.std(axis=1).min() > 0.01


def test_layers_side_by_side_are_layers_one_by_one(layer: SoftmaxLayer, tasks: tuple[Tensor, Tensor]) -> None:
    A, b = tasks
    twice = [torch.stack([layer.get_parameter(name), -layer.get_parameter(name)]) for name in CONFIG.shapes]
    found = layer_scores(CONFIG, *twice, torch.stack([A, A]), torch.stack([b, b]))  # type: ignore[arg-type]
    torch.testing.assert_close(found[0], layer.scores(A, b))
    other = SoftmaxLayer(CONFIG, {name: -layer.get_parameter(name) for name in CONFIG.shapes})
    torch.testing.assert_close(found[1], other.scores(A, b))


def test_a_query_does_not_see_its_own_b(layer: SoftmaxLayer, tasks: tuple[Tensor, Tensor]) -> None:
    """So the last row of W_KQ does nothing, and its last column does."""
    weights = {name: weight.detach().clone() for name, weight in layer.named_parameters()}
    weights["W_KQ"][-1] += 5
    torch.testing.assert_close(SoftmaxLayer(CONFIG, weights)(*tasks), layer(*tasks))
    weights["W_KQ"][0, -1] += 5
    assert (SoftmaxLayer(CONFIG, weights)(*tasks) - layer(*tasks)).abs().max() > 0.01


def test_the_order_of_the_tokens_does_not_matter(layer: SoftmaxLayer, tasks: tuple[Tensor, Tensor]) -> None:
    A, b = tasks
    order = torch.tensor([3, 1, 5, 0, 2, 4])
    torch.testing.assert_close(layer(A[:, order], b[:, order]), layer(A, b)[:, order])


def test_a_file_comes_back(layer: SoftmaxLayer, tasks: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    save_checkpoint(tmp_path / "layer.safetensors", CONFIG, dict(layer.named_parameters()), {"note": 1})
    found = load(tmp_path / "layer.safetensors")
    assert found.source.facts == {"d_in": 3, "output_scale": 2.5}
    assert found.source.record == {"note": 1}
    assert found.source.opening_check is not None
    assert found.source.opening_check["parts"].keys() == {"predictions"}
    torch.testing.assert_close(found.predict(*tasks), layer(*tasks))  # type: ignore[attr-defined]


def test_a_file_of_another_shape_is_refused(layer: SoftmaxLayer, tmp_path: Path) -> None:
    path = tmp_path / "wrong.safetensors"
    save_checkpoint(path, SoftmaxLayerConfig(d_in=4), dict(layer.named_parameters()))
    with pytest.raises(CheckpointRefused, match=r"wrong\.safetensors: W_KQ has shape \[4, 4\]; expected \[5, 5\]"):
        load(path)
    with pytest.raises(CheckpointRefused, match=r"output_scale = 0\.0; expected a number above 0"):
        SoftmaxLayerConfig(3, 0.0)
