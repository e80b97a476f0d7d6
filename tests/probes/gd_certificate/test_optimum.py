"""The closed forms: digits that others printed, first-order conditions, a flow that ends there, and drawn tasks."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.data import LinearRegression
from mesascope.probes.gd_certificate.optimum import (
    Law,
    excess_loss,
    expected_loss,
    gamma,
    identity_distance,
    optimal_learning_rate,
    optimal_loss,
    optimal_matrix,
    rank_losses,
    whitened_distance,
)
from scipy.linalg import sqrtm
from torch import Tensor

EIGENVALUES = torch.tensor([2.0, 1.2, 0.7, 0.3], dtype=torch.float64)
MIXED = torch.tensor([[2.0, 0.3, 0.0], [0.3, 1.0, 0.1], [0.0, 0.1, 0.5]], dtype=torch.float64)


def uniform(width: float, n: int, d: int, **others: Any) -> Law:
    """x ~ U(-width/2, width/2)."""
    return Law(width**2 / 12 * torch.eye(d, dtype=torch.float64), n, -1.2, **others)


def gaussian(d: int, n: int, **others: Any) -> Law:
    return Law(torch.eye(d, dtype=torch.float64), n, **others)


# -- printed digits ----------------------------------------------------------------------------------------------------


def test_product_distributions_have_their_step() -> None:
    """c* = s / (m4 + (d-1) s² + (N-1) s²), loss s d (1 - N s c*) / 2."""
    for width, n, d in ((1.0, 10, 10), (2.0, 10, 10), (1.5, 4, 7)):
        s, m4, law = width**2 / 12, width**4 / 80, uniform(width, n, d)
        c = s / (m4 + (d - 1) * s**2 + (n - 1) * s**2)
        torch.testing.assert_close(optimal_matrix(law), c * torch.eye(d, dtype=torch.float64), rtol=1e-12, atol=0)
        assert optimal_learning_rate(law) == pytest.approx(n * c, rel=1e-12)
        assert optimal_loss(law) == pytest.approx(s * d * (1 - n * s * c) / 2, rel=1e-12)
    assert optimal_learning_rate(uniform(1.0, 10, 10)) == pytest.approx(6.0606, abs=5e-5)
    assert optimal_loss(uniform(1.0, 10, 10)) == pytest.approx(0.20623, abs=5e-6)
    assert optimal_learning_rate(uniform(2.0, 10, 10)) == pytest.approx(1.51515, abs=5e-6)
    assert optimal_loss(uniform(2.0, 10, 10)) == pytest.approx(0.82492, abs=5e-6)


@pytest.mark.parametrize(("n", "d", "noise"), [(20, 5, 0.0), (10, 10, 0.0), (10, 10, 5.0), (3, 8, 0.5)])
def test_gaussian_inputs_have_the_best_scalar_step(n: int, d: int, noise: float) -> None:
    """c* = 1 / (N + d + 1 + σ²); without noise the loss is half of d (d+1) / (N+d+1)."""
    law = gaussian(d, n, noise_variance=noise)
    assert optimal_learning_rate(law) == pytest.approx(n / (n + d + 1 + noise), rel=1e-12)
    if not noise:
        assert optimal_loss(law) == pytest.approx(d * (d + 1) / (n + d + 1) / 2, rel=1e-12)


def test_the_optimum_of_zhang_frei_and_bartlett() -> None:
    """Γ = (1 + 1/N) Λ + (tr Λ/N) I; risk tr Λ - tr(Λ² Γ^-1) = 1.1624; balanced factors of 1.37110."""
    law = Law(torch.diag(EIGENVALUES), 12)
    expected = torch.diag((1 + 1 / 12) * EIGENVALUES + EIGENVALUES.sum() / 12)
    torch.testing.assert_close(gamma(law), expected, rtol=1e-13, atol=0)
    torch.testing.assert_close(optimal_matrix(law), torch.diag(1 / expected.diagonal()) / 12, rtol=1e-13, atol=0)
    assert 2 * optimal_loss(law) == pytest.approx(1.1624, abs=5e-5)
    assert float((12 * optimal_matrix(law)).norm()) ** 0.5 == pytest.approx(1.37110, abs=5e-6)
    noisy = uniform(1.0, 12, 4, noise_variance=0.3)
    torch.testing.assert_close(gamma(noisy.gaussian), gamma(Law(noisy.covariance, 12)), rtol=0, atol=0)
    assert law.is_gaussian
    assert not noisy.is_gaussian


# -- what an optimum is ------------------------------------------------------------------------------------------------

LAWS = [
    uniform(1.3, 5, 3, weight_variance=0.6, noise_variance=0.02),
    Law(MIXED, 4, weight_variance=1.7, noise_variance=0.4),
    Law(MIXED, 2),
]


@pytest.mark.parametrize("law", LAWS)
def test_no_direction_goes_down_from_the_optimum(law: Law) -> None:
    best, rng = optimal_matrix(law), torch.Generator().manual_seed(0)
    assert expected_loss(best, law) == pytest.approx(optimal_loss(law), rel=1e-13)
    for _ in range(5):
        move = torch.randn(3, 3, generator=rng, dtype=torch.float64)
        up, down = (excess_loss(best + size * move, law) for size in (1.0, -1.0))
        assert up == pytest.approx(down, rel=1e-9)
        assert up > 0
        assert excess_loss(best + 2 * move, law) == pytest.approx(4 * up, rel=1e-9)


@pytest.mark.parametrize("law", LAWS)
def test_the_best_rate_is_the_best_of_all_multiples(law: Law) -> None:
    rate, identity = optimal_learning_rate(law), torch.eye(3, dtype=torch.float64)
    losses = [expected_loss(rate * (1 + off) / law.n_context * identity, law) for off in (-1e-3, 0.0, 1e-3)]
    assert losses[1] < min(losses[0], losses[2])
    assert losses[0] - losses[1] == pytest.approx(losses[2] - losses[1], rel=1e-6)


def test_the_gradient_flow_of_a_layer_ends_at_the_optimum() -> None:
    """U' = -u² Γ Λ U Λ + u Λ², u' = -tr(u Γ Λ U Λ U^T - Λ² U^T), from a small balanced start."""
    L, G = torch.diag(EIGENVALUES), gamma(Law(torch.diag(EIGENVALUES), 12))
    u, U = torch.tensor(0.02, dtype=torch.float64), 0.01 * torch.eye(4, dtype=torch.float64)

    def flow(u: Tensor, U: Tensor) -> tuple[Tensor, Tensor]:
        return (L @ L @ U.mT - u * G @ L @ U @ L @ U.mT).trace(), u * L @ L - u**2 * G @ L @ U @ L

    dt = 0.05
    for _ in range(6_000):  # midpoint steps
        du, dU = flow(u, U)
        du, dU = flow(u + dt / 2 * du, U + dt / 2 * dU)
        u, U = u + dt * du, U + dt * dU
    torch.testing.assert_close(u * U / 12, optimal_matrix(Law(L, 12)), rtol=1e-6, atol=1e-12)


@pytest.mark.parametrize(
    "law",
    [Law(MIXED, 5, weight_variance=1.44, noise_variance=0.09), Law(torch.eye(3, dtype=torch.float64), 4, -1.2)],
    ids=["all settings", "alike"],
)
def test_no_matrix_of_a_rank_loses_less_than_its_level(law: Law) -> None:
    """The loss is |Λ^½ (M - M*) (ΛΓ)^½|²: singular values of M* between these roots (Eckart & Young)."""
    levels, M = rank_losses(law), optimal_matrix(law)
    assert levels[0] == pytest.approx(expected_loss(torch.zeros_like(M), law))
    assert levels[-1] == pytest.approx(optimal_loss(law))
    values, vectors = torch.linalg.eigh(law.covariance @ gamma(law))
    right = vectors * values.sqrt() @ vectors.mT
    U, S, Vh = torch.linalg.svd(law.root @ M @ right)
    for rank, level in enumerate(levels):
        held = torch.cat([S[:rank], torch.zeros_like(S[rank:])])
        best = torch.linalg.solve(law.root, U * held @ Vh) @ torch.linalg.inv(right)
        assert float(level) == pytest.approx(expected_loss(best, law))
        assert (levels[rank:-1] > levels[rank + 1 :]).all()


def test_levels_are_those_that_are_published() -> None:
    """tr Λ - Σ λ_i / (1 + (1 + tr Λ/λ_i)/N), of the whole squared error."""
    law = Law(torch.diag(torch.tensor([0.1, 0.4, 0.2, 0.3], dtype=torch.float64)), 31)
    expected, found = [1.0], 2 * rank_losses(law)
    for variance in (0.4, 0.3, 0.2, 0.1):
        expected.append(expected[-1] - variance / (1 + (1 + 1 / variance) / 31))
    np.testing.assert_allclose(found, expected)
    np.testing.assert_allclose(found, [1, 0.64058, 0.37738, 0.20980, 0.13600], atol=1e-5)


# -- drawn tasks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("n", "d"), [(4, 3), (2, 6)])
def test_losses_are_those_of_uniform_tasks(
    n: int, d: int, step_module: Callable[..., Any], mean_loss: Callable[..., tuple[float, float]]
) -> None:
    """More inputs than pairs, too. Noise and weights of their own sizes."""
    law = uniform(2.0, n, d, weight_variance=0.49, noise_variance=0.25)
    M = optimal_matrix(law) + 0.12 * torch.randn(d, d, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    tasks = LinearRegression(n, d, 1, 2.0, 0.7, 0.5).sample(100_000, 4)
    mean, error = mean_loss(step_module(M), tasks.inputs, tasks.targets)
    assert error < 0.01 * mean
    assert expected_loss(M, law) == pytest.approx(mean, abs=4 * error)
    assert excess_loss(M, law) > 8 * error  # else the line above could not tell M from the optimum


@pytest.mark.parametrize("covariance", [MIXED, torch.diag(torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64))])
def test_losses_are_those_of_gaussian_tasks(
    covariance: Tensor, step_module: Any, gaussian_tasks: Any, mean_loss: Any
) -> None:
    """A singular covariance, too."""
    law = Law(covariance, 5, weight_variance=1.44, noise_variance=0.09)
    M = optimal_matrix(law) + 0.05 * MIXED
    mean, error = mean_loss(step_module(M), *gaussian_tasks(covariance, 5, 100_000, 0, 0.3, 1.2))
    assert error < 0.02 * mean
    assert expected_loss(M, law) == pytest.approx(mean, abs=4 * error)
    assert excess_loss(M, law) > 8 * error


# -- distances ---------------------------------------------------------------------------------------------------------


def test_the_identity_distance_is_the_least_over_multiples() -> None:
    M = MIXED + torch.tensor([[0.0, 0.7, 0.0], [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]], dtype=torch.float64)
    identity = torch.eye(3, dtype=torch.float64)
    scanned = min(float((M - a * identity).norm() / M.norm()) for a in torch.linspace(0, 3, 3_001).tolist())
    assert identity_distance(M) == pytest.approx(scanned, abs=1e-6)
    assert identity_distance(2.5 * identity) == 0
    assert identity_distance(-identity) == 0
    inverse = torch.linalg.inv(MIXED)
    assert identity_distance(inverse, Law(MIXED, 1)) < 1e-14 < identity_distance(inverse)


def test_whitening_takes_both_sides() -> None:
    M = torch.tensor([[0.4, 0.3, 0.0], [-0.2, 0.7, 0.1], [0.0, 0.5, 0.9]], dtype=torch.float64)
    root = sqrtm(MIXED.numpy()).real
    whitened = root @ M.numpy() @ root
    rest = whitened - np.trace(whitened) / 3 * np.eye(3)
    expected = np.linalg.norm(rest) / np.linalg.norm(whitened)
    assert identity_distance(M, Law(MIXED, 4)) == pytest.approx(expected, rel=1e-10)
    np.testing.assert_allclose(Law(MIXED, 4).root.numpy(), root, rtol=1e-10, atol=1e-12)


def test_distances_are_those_of_whitened_inputs() -> None:
    law = Law(torch.diag(EIGENVALUES), 12)
    best = optimal_matrix(law)
    assert whitened_distance(best, best, law) == 0
    assert whitened_distance(1.03 * best, best, law) == pytest.approx(0.03, rel=1e-12)
    weights = torch.outer(EIGENVALUES, EIGENVALUES)  # of squared entries
    other = best + torch.arange(16.0, dtype=torch.float64).reshape(4, 4)
    expected = ((weights * (other - best) ** 2).sum() / (weights * best**2).sum()) ** 0.5
    assert whitened_distance(other, best, law) == pytest.approx(float(expected), rel=1e-12)


def test_directions_without_variance_have_no_part() -> None:
    rotation = torch.linalg.qr(MIXED).Q
    law = Law(rotation @ torch.diag(torch.tensor([1.0, 0.5, 0.0], dtype=torch.float64)) @ rotation.mT, 6)
    directions = law.directions
    assert directions.shape == (3, 2)
    reduced = law.along(directions)
    assert optimal_loss(reduced) == pytest.approx(optimal_loss(law), rel=1e-12)
    M = optimal_matrix(law) + 5 * torch.outer(rotation[:, 2], rotation[:, 0])
    assert expected_loss(M, law) == pytest.approx(optimal_loss(law), rel=1e-12)
    assert whitened_distance(M, optimal_matrix(law), law) < 1e-7
    assert Law(MIXED, 6).directions.shape == (3, 3)
