"""What entries beside the step cost, against the losses of whole random models on drawn tasks."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from mesascope.data import LinearRegression
from mesascope.models import RegressionConfig, RegressionTransformer, gd_transformer
from mesascope.probes.gd_certificate.layer import Layer, layers_of, step_matrix
from mesascope.probes.gd_certificate.optimum import Law, expected_loss
from mesascope.probes.gd_certificate.other_entries import even_loss, mixing_loss, other_loss
from mesascope.probes.regression.products import module_products

MIXED = torch.tensor([[2.0, 0.3, 0.0], [0.3, 1.0, 0.1], [0.0, 0.1, 0.5]], dtype=torch.float64)


def layer_of(module: RegressionTransformer) -> Layer:
    return layers_of(module_products(module))[0]


def total(module: RegressionTransformer, law: Law) -> float:
    layer = layer_of(module)
    return module.config.d_out * expected_loss(step_matrix(layer), law) + other_loss(layer, law)


@pytest.mark.parametrize("d_out", [1, 2])
@pytest.mark.parametrize("noise", [0.0, 0.6])
def test_uniform_tasks(d_out: int, noise: float, random_module: Any, mean_loss: Any) -> None:
    module = random_module(scale=1.0, seed=0, n_heads=2, d_out=d_out)
    law = Law(0.3 * torch.eye(3, dtype=torch.float64), 4, -1.2, 0.49, noise**2)
    tasks = LinearRegression(4, 3, d_out, 3.6**0.5, 0.7, noise).sample(200_000, 5)
    mean, error = mean_loss(module, tasks.inputs, tasks.targets)
    assert error < 0.01 * mean
    assert total(module, law) == pytest.approx(mean, abs=4 * error)
    assert even_loss(layer_of(module), law) > 20 * error


@pytest.mark.parametrize("d_out", [1, 2])
def test_gaussian_tasks(d_out: int, random_module: Any, gaussian_tasks: Any, mean_loss: Any) -> None:
    module = random_module(scale=1.0, seed=0, n_heads=2, d_out=d_out)
    law = Law(MIXED, 4, 0.0, 1.3, 0.2)
    mean, error = mean_loss(module, *gaussian_tasks(MIXED, 4, 200_000, 1, 0.2**0.5, 1.3**0.5, d_out))
    assert error < 0.03 * mean
    assert total(module, law) == pytest.approx(mean, abs=4 * error)


def written(
    KQ: dict[tuple[int, int], float], PV: dict[tuple[int, int], float], d_out: int = 1
) -> RegressionTransformer:
    """One head with a few entries, of inputs of width 2."""
    held = torch.zeros(2, 1, 1, 2 + d_out, 2 + d_out, dtype=torch.float64)
    for matrix, entries in zip(held, (KQ, PV), strict=True):
        for place, value in entries.items():
            matrix[0, 0][place] = value
    return RegressionTransformer.from_products(RegressionConfig(2, d_out), *held)


def alone(KQ: dict[tuple[int, int], float], PV: dict[tuple[int, int], float], d_out: int = 1) -> Layer:
    return layer_of(written(KQ, PV, d_out))


@pytest.mark.parametrize("kurtosis", [0.0, -1.2, 3.0])
def test_one_entry_has_the_moment_that_it_pairs(kurtosis: float) -> None:
    """KQ[x0, x1] PV[x1, y]: v = Σ x1², whose square has mean N (m4 - s²) + N² s²."""
    s, n = 0.7, 5
    law = Law(s * torch.eye(2, dtype=torch.float64), n, kurtosis)
    layer = alone({(0, 1): 1.0}, {(1, 2): 3.0})
    fourth = (kurtosis + 3) * s**2
    assert even_loss(layer, law) == pytest.approx(0.5 * s * 9 * (n * (fourth - s**2) + n**2 * s**2), rel=1e-12)
    assert not step_matrix(layer).any()


def test_labels_alone_have_the_moment_of_their_squares() -> None:
    """KQ[x0, y] PV[y, y]: v = Σ ε², with labels that are noise and teachers next to 0."""
    law = Law(torch.eye(2, dtype=torch.float64), 6, weight_variance=1e-14, noise_variance=0.25)
    assert even_loss(alone({(0, 2): 1.0}, {(2, 2): 2.0}), law) == pytest.approx(
        0.5 * 4 * 0.25**2 * (6 * 6 + 2 * 6), rel=1e-9
    )


@pytest.mark.parametrize("sign", [1.0, -1.0])
def test_inputs_and_labels_count_together(sign: float, gaussian_tasks: Any, mean_loss: Any) -> None:
    """v = Σ x0² ± Σ y²: with a plus both add up, with a minus they nearly cancel."""
    module = written({(0, 0): 1.0, (0, 2): 1.0}, {(0, 2): 0.3, (2, 2): 0.3 * sign})
    law = Law(torch.eye(2, dtype=torch.float64), 4, 0.0, 0.3, 0.4)
    mean, error = mean_loss(module, *gaussian_tasks(law.covariance, 4, 100_000, 3, 0.4**0.5, 0.3**0.5))
    assert total(module, law) == pytest.approx(mean, abs=4 * error)
    apart = [alone({(0, 0): 1.0}, {(0, 2): 0.3}), alone({(0, 2): 1.0}, {(2, 2): 0.3})]
    together = even_loss(layer_of(module), law) - sum(even_loss(layer, law) for layer in apart)
    assert sign * together > 10 * error  # half of it would be seen


def test_steps_of_their_own_for_each_label_cost_something() -> None:
    law = Law(torch.eye(2, dtype=torch.float64), 6)
    both = alone({(0, 0): 1.0, (1, 1): 1.0}, {(2, 2): -0.1, (3, 3): -0.1}, d_out=2)
    assert mixing_loss(both, law) == 0
    apart = alone({(0, 0): 1.0, (1, 1): 1.0}, {(2, 2): -0.13, (3, 3): -0.07}, d_out=2)
    one, other = (expected_loss(c * torch.eye(2, dtype=torch.float64), law) for c in (0.13, 0.07))
    mean = 2 * expected_loss(step_matrix(apart), law)
    assert mixing_loss(apart, law) == pytest.approx(one + other - mean, rel=1e-9)
    assert mixing_loss(alone({(0, 0): 1.0}, {(2, 3): -0.1}, d_out=2), law) > 0


def test_a_constructed_step_has_nothing_else() -> None:
    layer = layer_of(gd_transformer(6, 2.0, 3, 2))
    assert other_loss(layer, Law(MIXED, 6, 0.0, 1.0, 0.3)) == pytest.approx(0, abs=1e-15)
