"""The plateaus of training: printed digits, a search over all layers of a rank, and a training that rests on them."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mesascope.analyses.selftest.one_layer import _best_of_rank
from mesascope.probes.gd_certificate.optimum import Law, expected_loss, gamma, optimal_matrix
from scipy.integrate import solve_ivp
from scipy.optimize import minimize

LAW = Law(torch.diag(torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)), 31)
PLATEAUS = [1, 0.64057971, 0.37737216, 0.2098046, 0.13599507]


def risk(M: np.ndarray) -> float:
    return 2 * expected_loss(torch.from_numpy(M), LAW)


def test_plateaus_to_their_digits() -> None:
    found = [risk(_best_of_rank(rank, LAW).numpy()) for rank in range(5)]
    assert found == pytest.approx(PLATEAUS, abs=6e-9)


@pytest.mark.parametrize("rank", [1, 2, 3])
def test_no_layer_of_a_rank_loses_less_than_its_plateau(rank: int) -> None:
    """By a general method, from random factors."""

    def lost(factors: np.ndarray) -> float:
        left, right = factors.reshape(2, 4, rank)
        return risk(left @ right.T)

    rng = np.random.default_rng(0)
    found = [minimize(lost, 0.3 * rng.normal(size=8 * rank), method="BFGS").fun for _ in range(2)]
    assert min(found) == pytest.approx(PLATEAUS[rank], abs=1e-8)


def test_a_training_with_heads_of_rank_one_rests_on_each_plateau() -> None:
    """M = Σ v q k^T over heads, from small weights: the loss falls from one plateau to the next (Zhang et al. 2025)."""
    L, best, right = LAW.covariance.numpy(), optimal_matrix(LAW).numpy(), (LAW.covariance @ gamma(LAW)).numpy()

    def parts(weights: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        return weights[:4], *weights[4:].reshape(2, 4, 4)

    def flow(_: float, weights: np.ndarray) -> np.ndarray:
        v, q, k = parts(weights)
        down = -(31**2) * L @ ((q.T * v) @ k - best) @ right
        of_v = np.einsum("hi,ij,hj->h", q, down, k)
        return np.concatenate([of_v, (v[:, None] * (k @ down.T)).ravel(), (v[:, None] * (q @ down)).ravel()])

    times, start = np.geomspace(100, 20_000, 400), 1e-3 * np.random.default_rng(1).normal(size=36)
    path = solve_ivp(flow, (0, times[-1]), start, method="LSODA", rtol=1e-7, t_eval=times).y
    losses = np.array([risk((q.T * v) @ k) for v, q, k in map(parts, path.T)])
    rests = [int((abs(losses - plateau) < 1e-3).sum()) for plateau in PLATEAUS]
    assert min(rests) >= 8
    assert sum(rests) > 0.95 * len(losses)
