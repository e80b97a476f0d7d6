"""Weights under the field's names, and what does not depend on how a product was split."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from mesascope.models import AttentionWeights, RegressionTransformer
from torch import Tensor

Make = Callable[..., RegressionTransformer]


def test_weights_are_per_layer_and_head(random_model: Make) -> None:
    model = random_model(n_layers=3, tied=False, n_heads=2)
    weights = model.weights()
    assert weights.W_Q.shape == weights.W_K.shape == weights.W_V.shape == (3, 2, 4, 4)
    for name in ("W_Q", "W_K", "W_V", "W_O"):
        assert torch.equal(getattr(weights, name), getattr(model, name))


def test_a_tied_stack_repeats_its_one_block(random_model: Make) -> None:
    model = random_model(n_layers=3, n_heads=2, d_head=5)
    weights = model.weights()
    assert weights.W_O.shape == (3, 2, 5, 4)
    assert all(torch.equal(weights.W_Q[layer], model.W_Q[0]) for layer in range(3))


def test_products_by_loops(random_model: Make) -> None:
    weights = random_model(n_layers=2, tied=False, n_heads=2, d_head=3).weights()
    assert weights.KQ.shape == weights.PV.shape == (2, 2, 4, 4)
    for layer in range(2):
        for head in range(2):
            W_Q, W_K, W_V, W_O = (getattr(weights, name)[layer, head].numpy() for name in ("W_Q", "W_K", "W_V", "W_O"))
            np.testing.assert_allclose(weights.KQ[layer, head], W_Q @ W_K.T, rtol=1e-13)
            np.testing.assert_allclose(weights.PV[layer, head], W_V @ W_O, rtol=1e-13)


def change_gauge(model: RegressionTransformer, seed: int) -> RegressionTransformer:
    """The same function by other weights: an invertible matrix between Q and K, another between V and O."""
    rng = torch.Generator().manual_seed(seed)
    k = model.config.d_head
    inner, outer = (torch.eye(k) + 0.3 * torch.randn(k, k, generator=rng, dtype=torch.float64) for _ in range(2))
    parameters = {
        "W_Q": model.W_Q @ inner,
        "W_K": model.W_K @ torch.linalg.inv(inner).T,
        "W_V": model.W_V @ outer,
        "W_O": torch.linalg.inv(outer) @ model.W_O,
    }
    return RegressionTransformer(model.config, parameters)


@pytest.mark.parametrize("softmax", [False, True])
def test_the_gauge_moves_neither_products_nor_predictions(
    random_model: Make, random_inputs: Callable[..., Tensor], softmax: bool
) -> None:
    model = random_model(n_layers=2, tied=False, n_heads=2, softmax=softmax)
    other, inputs = change_gauge(model, seed=5), random_inputs(4)
    assert not torch.allclose(model.W_Q, other.W_Q)
    torch.testing.assert_close(other.weights().KQ, model.weights().KQ, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(other.weights().PV, model.weights().PV, rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(other.predict_layers(inputs), model.predict_layers(inputs), rtol=1e-9, atol=1e-10)


@pytest.mark.parametrize("tied", [True, False])
def test_linear_attention_is_its_products(random_model: Make, random_inputs: Callable[..., Tensor], tied: bool) -> None:
    """A model made from KQ and PV alone predicts the same, whatever the width of its heads was."""
    model, inputs = random_model(n_layers=2, tied=tied, n_heads=3, d_head=2), random_inputs(4)
    blocks = slice(0, 1) if tied else slice(None)
    weights = model.weights()
    merged = RegressionTransformer.from_products(model.config, weights.KQ[blocks], weights.PV[blocks])
    torch.testing.assert_close(merged.predict_layers(inputs), model.predict_layers(inputs), rtol=1e-11, atol=1e-12)
    torch.testing.assert_close(merged.weights().KQ, weights.KQ)
    torch.testing.assert_close(merged.weights().PV, weights.PV)


def test_softmax_attention_is_more_than_its_products(random_model: Make) -> None:
    model = random_model(softmax=True)
    with pytest.raises(ValueError, match="softmax"):
        RegressionTransformer.from_products(model.config, model.weights().KQ, model.weights().PV)


def test_scale_moves_between_products_of_linear_attention_only(
    random_model: Make, random_inputs: Callable[..., Tensor]
) -> None:
    inputs = random_inputs(4)
    for softmax in (False, True):
        model = random_model(softmax=softmax)
        scaled = RegressionTransformer(
            model.config, {"W_Q": model.W_Q * 3, "W_K": model.W_K, "W_V": model.W_V, "W_O": model.W_O / 3}
        )
        assert torch.allclose(scaled(inputs), model(inputs), rtol=1e-10) is not softmax


def grouped(seed: int = 0) -> AttentionWeights:
    """Six query heads over two key-value heads."""
    rng = torch.Generator().manual_seed(seed)
    shapes = {
        "W_Q": (2, 6, 5, 3),
        "W_K": (2, 2, 5, 3),
        "W_V": (2, 2, 5, 3),
        "W_O": (2, 6, 3, 5),
        "b_Q": (2, 6, 3),
        "b_K": (2, 2, 3),
        "b_V": (2, 2, 3),
        "b_O": (2, 5),
    }
    made = {name: torch.randn(shape, generator=rng, dtype=torch.float64) for name, shape in shapes.items()}
    return AttentionWeights(**made, folded=False, rotary=None)


def test_a_query_head_uses_the_key_value_head_of_its_group() -> None:
    weights = grouped()
    expanded = weights.expanded()
    assert (weights.group, expanded.group) == (3, 1)
    assert expanded.W_K.shape == expanded.W_V.shape == (2, 6, 5, 3)
    for head in range(6):
        for name in ("W_K", "W_V", "b_K", "b_V"):
            assert torch.equal(getattr(expanded, name)[:, head], getattr(weights, name)[:, head // 3])
        qk, ov = weights.qk(1, head), weights.ov(1, head)
        assert (qk.left.shape, qk.right.shape) == (ov.left.shape, ov.right.shape) == ((5, 3), (3, 5))
        assert torch.equal(qk.right, expanded.W_K[1, head].mT)
        torch.testing.assert_close(qk.left @ qk.right, weights.KQ[1, head], rtol=1e-13, atol=1e-13)
        torch.testing.assert_close(ov.left @ ov.right, weights.PV[1, head], rtol=1e-13, atol=1e-13)
    assert expanded.expanded() is expanded


def test_a_norm_without_offset_leaves_biases_as_they_are() -> None:
    weights = grouped()
    folded = weights.with_norm_folded(torch.full((2, 5), 2.0, dtype=torch.float64), None)
    assert folded.folded
    for role in "QKV":
        assert torch.equal(getattr(folded, f"W_{role}"), 2 * getattr(weights, f"W_{role}"))
        assert torch.equal(getattr(folded, f"b_{role}"), getattr(weights, f"b_{role}"))
    assert torch.equal(folded.W_O, weights.W_O)
