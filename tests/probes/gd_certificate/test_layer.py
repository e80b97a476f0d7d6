"""What a layer does, against loops over the dense tensor and the answers of models; and what cannot matter."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.models import RegressionConfig, RegressionTransformer, gd_transformer, gdpp_transformer
from mesascope.probes.gd_certificate.layer import (
    Layer,
    along,
    curvature,
    heads_of,
    layers_of,
    parts,
    step_matrix,
    step_sizes,
    step_tensor,
    with_fixed_gauge,
)
from mesascope.probes.regression.products import module_products
from torch import Tensor

Modules = Callable[..., RegressionTransformer]
SHAPES: list[dict[str, Any]] = [
    {},
    {"n_heads": 3},
    {"n_layers": 2, "n_heads": 2},
    {"n_layers": 2, "tied": False, "d_out": 2},
    {"n_layers": 2, "target_only": True},
    {"d_out": 3, "n_heads": 2},
]


def dense(module: RegressionTransformer, block: int, last: bool, first_only: bool) -> np.ndarray:
    """T[a,b,c,e] by loops, symmetric in b and c; entries that cannot reach the output are 0."""
    config, d = module.config, module.config.d_in
    T = np.zeros((config.d_model,) * 4)
    for head in range(config.n_heads):
        W_Q, W_K, W_V, W_O = (getattr(module, f"W_{role}")[block, head].double().numpy() for role in "QKVO")
        T += config.dampening * np.multiply.outer(W_Q @ W_K.T, W_V @ W_O)
    T = (T + T.transpose(0, 2, 1, 3)) / 2
    if first_only:
        T[d:] = 0
    if last or config.target_only:
        T[..., :d] = 0
    return T


@pytest.mark.parametrize("settings", SHAPES)
def test_parts_are_those_of_the_dense_tensor(settings: dict[str, Any], random_module: Modules) -> None:
    module = random_module(dampening=0.7, **settings)
    config, d, o = module.config, module.config.d_in, module.config.d_out
    for block, layer in enumerate(layers_of(module_products(module))):
        last = config.n_layers == 1 or (not config.tied and block == config.n_layers - 1)
        T = dense(module, block, last, config.n_layers == 1)
        held = parts(layer)
        assert sum(vars(held).values()) == pytest.approx(np.sum(T**2), rel=1e-12)
        M = -2 * np.mean([T[:d, :d, d + c, d + c] for c in range(o)], axis=0)
        np.testing.assert_allclose(step_matrix(layer).numpy(), M, rtol=1e-12, atol=1e-15)
        multiple = np.trace(M) / d * np.eye(d)
        assert held.step == pytest.approx(o * np.sum(multiple**2) / 2, rel=1e-12)
        assert held.step_rest == pytest.approx(o * np.sum((M - multiple) ** 2) / 2, rel=1e-12)
        gammas = np.multiply.outer(np.eye(d), np.eye(d))
        gammas = (gammas + gammas.transpose(0, 2, 1, 3)) / 2
        gamma = -np.sum(T[:d, :d, :d, :d] * gammas) / np.sum(gammas**2)
        assert curvature(layer) == pytest.approx(gamma, rel=1e-10, abs=1e-15)
        assert held.curvature == pytest.approx(gamma**2 * np.sum(gammas**2), rel=1e-10, abs=1e-20)
        rest = np.sum((T[:d, :d, :d, :d] + gamma * gammas) ** 2)
        assert held.curvature_rest == pytest.approx(rest, rel=1e-12, abs=1e-20)
        assert layer.curves == bool(T[..., :d].any())


@pytest.mark.parametrize("settings", [{}, {"n_heads": 3}, {"d_out": 2, "n_heads": 2}])
def test_the_step_is_what_answers_hold_of_the_labels(settings: dict[str, Any], random_module: Modules) -> None:
    """Answers on labels y and on -y: half their difference is the step alone."""
    module = random_module(**settings)
    d = module.config.d_in
    tokens = torch.randn(6, 5, module.config.d_model, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    tokens[:, -1, d:] = 0
    turned = tokens.clone()
    turned[..., d:] *= -1
    x, y, query = tokens[:, :-1, :d], tokens[:, :-1, d:], tokens[:, -1, :d]
    (layer,) = layers_of(module_products(module))
    predicted = torch.einsum("ta,abce,tib,tic->te", query, step_tensor(layer), x, y)
    torch.testing.assert_close((module(tokens) - module(turned)) / 2, predicted, rtol=1e-10, atol=1e-12)


def test_constructed_models_have_their_settings() -> None:
    (layer,) = layers_of(module_products(gd_transformer(10, 4.0, 3, 2, dampening=0.5)))
    torch.testing.assert_close(step_matrix(layer), 0.2 * torch.eye(3, dtype=torch.float64), rtol=1e-12, atol=0)
    first, last = layers_of(module_products(gdpp_transformer(8, [3.0, 2.0], [0.4, 0.3], 3, n_layers=2, tied=False)))
    assert curvature(first) == pytest.approx(0.4)
    assert float(step_matrix(last)[1, 1]) == pytest.approx(0.25)
    assert first.curves
    assert not last.curves
    held = parts(first)
    assert held.step_rest == held.other == 0
    assert held.curvature_rest < 1e-30
    assert held.step == pytest.approx(3 * 0.375**2 / 2)
    assert held.curvature == pytest.approx(0.4**2 * 6)


def test_step_sizes_are_those_along_directions() -> None:
    M = torch.diag(torch.tensor([0.5, -0.2, 0.9], dtype=torch.float64))
    assert step_sizes(M).tolist() == pytest.approx([-0.2, 0.5, 0.9])
    skew = torch.tensor([[0.0, 3.0, 0.0], [-3.0, 0.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    assert step_sizes(M + skew).tolist() == pytest.approx([-0.2, 0.5, 0.9])


# -- what cannot matter ------------------------------------------------------------------------------------------------


def test_what_cancels_in_the_context_is_nothing() -> None:
    """Two heads whose sum is antisymmetric in the context's two entries: the model's answers are all 0."""
    KQ, PV = torch.zeros(2, 1, 2, 4, 4, dtype=torch.float64)
    KQ[0, 0, 0, 1], PV[0, 0, 3, 3] = 2.0, 1.5  # a gradient step, written once as it should be …
    KQ[0, 1, 0, 3], PV[0, 1, 1, 3] = -2.0, 1.5  # … and once crossed, with the other sign
    module = RegressionTransformer.from_products(RegressionConfig(d_in=3), KQ, PV)
    tokens = torch.randn(4, 6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    tokens[:, -1, 3] = 0
    assert float(module(tokens).abs().max()) < 1e-13
    (layer,) = layers_of(module_products(module))
    assert not step_matrix(layer).any()
    assert sum(vars(parts(layer)).values()) == 0
    apart = [float(step_matrix(head)[0, 1]) for head in heads_of(layer)]
    assert apart == [-3.0, 3.0]


def test_crossed_entries_are_a_step_too() -> None:
    """d heads that never pair x with x in KQ, and nonetheless take a step of gradient descent."""
    KQ, PV = torch.zeros(2, 1, 3, 4, 4, dtype=torch.float64)
    for i in range(3):
        KQ[0, i, i, 3], PV[0, i, i, 3] = 1.0, -0.4
    module = RegressionTransformer.from_products(RegressionConfig(d_in=3), KQ, PV)
    tokens = torch.randn(4, 6, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    tokens[:, -1, 3] = 0
    torch.testing.assert_close(module(tokens), gd_transformer(5, 2.0, 3)(tokens), rtol=1e-10, atol=1e-12)
    (layer,) = layers_of(module_products(module))
    torch.testing.assert_close(step_matrix(layer), 0.4 * torch.eye(3, dtype=torch.float64), rtol=0, atol=1e-15)
    assert parts(layer).other == 0


@pytest.mark.parametrize("factor", [3.0, -0.2])
def test_a_fixed_gauge_is_the_same_for_all(factor: float, random_module: Modules) -> None:
    (layer,) = layers_of(module_products(random_module(n_heads=2)))
    scale = torch.tensor([factor, 1 / factor], dtype=torch.float64)[:, None, None]
    one, other = with_fixed_gauge(layer), with_fixed_gauge(Layer(layer.KQ * scale, layer.PV / scale, 3))
    torch.testing.assert_close(one.KQ, other.KQ, rtol=1e-12, atol=0)
    torch.testing.assert_close(one.PV, other.PV, rtol=1e-12, atol=0)
    torch.testing.assert_close(step_tensor(one), step_tensor(layer), rtol=1e-12, atol=1e-15)
    assert one.KQ.norm(dim=(1, 2)).tolist() == pytest.approx([3**0.5] * 2)
    assert (one.KQ[:, :3, :3].diagonal(dim1=1, dim2=2).sum(-1) > 0).all()


def test_nothing_has_a_gauge_too() -> None:
    nothing = torch.zeros(1, 4, 4, dtype=torch.float64)
    assert not with_fixed_gauge(Layer(nothing, nothing + 1, 3)).KQ.any()


def test_a_layer_along_directions_does_the_same_there(random_module: Modules) -> None:
    (layer,) = layers_of(module_products(random_module()))
    directions: Tensor = torch.linalg.qr(torch.randn(3, 2, generator=torch.Generator().manual_seed(0)).double()).Q
    reduced = along(layer, directions)
    assert reduced.d_in == 2
    expected = directions.mT @ step_matrix(layer) @ directions
    torch.testing.assert_close(step_matrix(reduced), expected, rtol=1e-12, atol=1e-15)
    whole = torch.linalg.qr(torch.randn(3, 3, generator=torch.Generator().manual_seed(1)).double()).Q
    assert vars(parts(along(layer, whole))) == pytest.approx(vars(parts(layer)), rel=1e-10, abs=1e-18)
