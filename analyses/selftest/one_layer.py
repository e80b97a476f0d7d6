"""Closed forms of one layer of linear attention, as gd-certificate has them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import torch
from einops import einsum
from scipy.integrate import solve_ivp

from ...data.regression import LinearRegression
from ...models.constructed.gradient_descent import gd_transformer
from ...models.opening.loading import load_all
from ...models.own.regression_config import RegressionConfig
from ...models.own.regression_transformer import RegressionTransformer, initialise
from ...models.regressors import TransformerRegressor
from ...probes.gd_certificate import optimum
from ...probes.gd_certificate.law import law_of
from ...probes.gd_certificate.layer import layers_of, step_matrix
from ...probes.gd_certificate.optimum import Law, Matrix
from ...probes.gd_certificate.other_entries import other_loss
from ...probes.regression.products import module_products
from .agreement import Agreement, Check, same, same_mean
from .exact_means import EveryTask, Shape
from .sources import AHN, MAHANKALI, VON_OSWALD, ZHANG, ZHANG_SINGH

KURTOSIS: dict[Shape, float] = {"normal": 0.0, "uniform": -1.2}
MIXED = torch.tensor([[1.3, 0.4], [0.4, 0.6]], dtype=torch.float64)
LAWS: tuple[tuple[Law, Shape], ...] = (
    (Law(MIXED, 2, 0.0, weight_variance=1.44, noise_variance=0.25), "normal"),
    (Law(torch.diag(MIXED.diagonal()), 2, -1.2, weight_variance=0.64, noise_variance=0.09), "uniform"),
)
NEAR = 0.05
"""By so much a trained layer may be away from the optimum of its law."""


def layer_of(M: Matrix) -> RegressionTransformer:
    """A transformer whose one layer predicts x_q^T M X^T y."""
    d = len(M)
    KQ, PV = torch.zeros(2, 1, 1, d + 1, d + 1, dtype=torch.float64)
    KQ[..., :d, :d], PV[..., d, d] = M, -1.0
    return RegressionTransformer.from_products(RegressionConfig(d_in=d), KQ, PV)


def tasks_of(law: Law, shape: Shape) -> EveryTask:
    return EveryTask.of(law.root, law.noise_variance**0.5, law.weight_variance**0.5, shape)


def mean_loss(module: RegressionTransformer, tasks: EveryTask, device: torch.device) -> float:
    """½ (y - ŷ)² of a model that runs, over all tasks."""
    answers = module.to(device)(tasks.inputs.to(device)).cpu()
    return float(tasks.mean(0.5 * (answers - tasks.target).square()))


def expected_loss(device: torch.device) -> Iterator[Agreement]:
    """Of layers with random weights: the step, and all entries beside it."""
    for seed, (law, shape) in enumerate(LAWS):
        config = RegressionConfig(d_in=2, n_heads=2, d_head=3)
        module = initialise(config, 2.0, torch.Generator().manual_seed(seed))
        (layer,) = layers_of(module_products(module))
        parts = optimum.expected_loss(step_matrix(layer), law) + other_loss(layer, law)
        yield same(parts, mean_loss(module, tasks_of(law, shape), device))


def best_layer(device: torch.device) -> Iterator[Agreement]:
    """M* against the regression of labels on what a layer can read, x_q (X^T y)^T."""
    for law, shape in LAWS:
        tasks = tasks_of(law, shape)
        read = einsum(tasks.inputs[:, 2, :2], tasks.correlation, "task i, task j -> task i j").flatten(1)
        gram = tasks.mean(einsum(read, read, "task a, task b -> task a b"))
        fitted = torch.linalg.solve(gram, tasks.mean(read * tasks.target)).reshape(2, 2)
        yield same(optimum.optimal_matrix(law), fitted)
        yield same(optimum.optimal_loss(law), mean_loss(layer_of(fitted), tasks, device))


def gradient_flow(_: torch.device) -> Iterator[Agreement]:
    """Where training by gradient flow ends, from a small balanced start."""
    law = Law(torch.diag(torch.tensor([2.0, 1.2, 0.7, 0.3], dtype=torch.float64)), 12)
    L, d = law.covariance.numpy(), 4
    G = (1 + 1 / 12) * L + L.trace() / 12 * np.eye(d)

    def flow(_: float, weights: np.ndarray) -> np.ndarray:
        u, U = weights[0], weights[1:].reshape(d, d)
        of_u = np.trace(L @ L @ U.T - u * G @ L @ U @ L @ U.T)
        return np.concatenate([[of_u], (u * L @ L - u**2 * G @ L @ U @ L).ravel()])

    start = np.concatenate([[0.02], 0.01 * np.eye(d).ravel()])
    end = solve_ivp(flow, (0, 400), start, method="LSODA", rtol=3e-14, atol=1e-15).y[:, -1]
    found, product = 12 * optimum.optimal_matrix(law), end[0] * end[1:].reshape(d, d)
    yield same(found, product)
    yield same(float(found.norm()) ** 0.5, float(end[0]))


def gaussian_step(_: torch.device) -> Iterator[Agreement]:
    """c* = 1/(N+d+1+σ²), the least loss without noise d (d+1)/(N+d+1)/2."""
    for n, d, noise in ((20, 5, 0.0), (10, 10, 0.0), (41, 20, 0.5), (3, 8, 5.0)):
        law = Law(torch.eye(d, dtype=torch.float64), n, noise_variance=noise)
        yield same(optimum.optimal_learning_rate(law) / n, 1 / (n + d + 1 + noise))
        yield same(optimum.optimal_loss(replace(law, noise_variance=0.0)), d * (d + 1) / (n + d + 1) / 2)


def mahankali_ratio(_: torch.device) -> Iterator[Agreement]:
    """η* = N E[w^T X^T y] / E|X^T y|² for inputs of unit covariance."""
    law = Law(torch.eye(2, dtype=torch.float64), 2, noise_variance=0.49)
    for shape, kurtosis in KURTOSIS.items():
        tasks = tasks_of(law, shape)
        along = tasks.mean((tasks.teacher * tasks.correlation).sum(dim=1))
        ratio = along / tasks.mean(tasks.correlation.square().sum(dim=1))
        yield same(optimum.optimal_learning_rate(replace(law, excess_kurtosis=kurtosis)) / 2, ratio)


def product_distributions(_: torch.device) -> Iterator[Agreement]:
    """c* = s / ((m4 + (d-1) s²) + (N-1) s²), twice the least loss s d (1 - N s c*); s, m4: second and fourth moment."""
    moments = {"uniform": (1 / 12, 1 / 80), "normal": (1.0, 3.0), "signs": (1.0, 1.0), "Laplace": (2.0, 24.0)}
    for (s, m4), n, d in zip(moments.values(), (10, 5, 4, 31), (10, 3, 7, 20), strict=True):
        law = Law(s * torch.eye(d, dtype=torch.float64), n, m4 / s**2 - 3)
        c = s / ((m4 + (d - 1) * s**2) + (n - 1) * s**2)
        yield same(optimum.optimal_matrix(law), c * torch.eye(d, dtype=torch.float64))
        yield same(optimum.optimal_loss(law), s * d * (1 - n * s * c) / 2)


def uniform_tasks(device: torch.device) -> Iterator[Agreement]:
    """The loss of constructed gradient descent on drawn tasks, from U(-1/2, 1/2) with d = N = 10."""
    batch = LinearRegression().sample(10_000, seed=0)
    law = Law(torch.eye(10, dtype=torch.float64) / 12, 10, -1.2)
    for rate in (optimum.optimal_learning_rate(law), 3.0, 9.0):
        module = gd_transformer(10, rate, 10).to(device)
        drawn = 0.5 * (module(batch.inputs.to(device)).cpu() - batch.targets).square()[:, 0]
        yield same_mean(drawn, optimum.expected_loss(rate / 10 * torch.eye(10, dtype=torch.float64), law))


def plateaus(_: torch.device) -> Iterator[Agreement]:
    """L_m = tr Λ - Σ_{i≤m} λ_i / (1 + (1 + tr Λ/λ_i)/N) of the best layers of rank m (Eckart & Young)."""
    eigenvalues = torch.tensor([0.4, 0.3, 0.2, 0.1], dtype=torch.float64)
    basis = torch.linalg.qr(torch.arange(16, dtype=torch.float64).reshape(4, 4).cos()).Q
    law = Law(basis * eigenvalues @ basis.mT, 31)
    gains = eigenvalues / (1 + (1 + eigenvalues.sum() / eigenvalues) / 31)
    expected = eigenvalues.sum() - torch.cat([torch.zeros(1), gains.cumsum(0)])
    found = [2 * optimum.expected_loss(_best_of_rank(rank, law), law) for rank in range(5)]
    yield same(torch.tensor(found, dtype=torch.float64), expected)


def _best_of_rank(rank: int, law: Law) -> Matrix:
    """The loss is |Λ^½ (M - M*) (ΛΓ)^½|²: cut the singular values of M* between these roots."""
    values, vectors = torch.linalg.eigh(law.covariance @ optimum.gamma(law))
    right = vectors * values.sqrt() @ vectors.mT
    U, S, Vh = torch.linalg.svd(law.root @ optimum.optimal_matrix(law) @ right)
    S[rank:] = 0
    return torch.linalg.solve(law.root, U * S @ Vh) @ torch.linalg.inv(right)


def shipped_layers(_: torch.device) -> Iterator[Agreement]:
    """Trained layers and the optimum of the law that their file records."""
    for subject in load_all("lsa-1layer"):
        assert isinstance(subject, TransformerRegressor)
        law = law_of(subject, None, None)
        assert isinstance(law, Law)
        (layer,) = layers_of(module_products(subject.module))
        yield Agreement(optimum.whitened_distance(step_matrix(layer), optimum.optimal_matrix(law), law), NEAR)


CHECKS = (
    Check("expected loss", "loss of random layers", "they run on every task", "mesascope", expected_loss),
    Check("best layer", "M* and its loss", "regression on every task", AHN, best_layer),
    Check("gradient flow", "Γ⁻¹ and its balanced factors", "the end of training, as an ODE", ZHANG, gradient_flow),
    Check("step for Gaussian inputs", "best learning rate and loss", "1/(N+d+1+σ²), d(d+1)/(N+d+1)", MAHANKALI,
          gaussian_step),
    Check("step as a ratio", "best learning rate", "E wᵀXᵀy / E|Xᵀy|²", MAHANKALI, mahankali_ratio),
    Check("product distributions", "M* and its loss", "s/(m₄+(d-1)s²+(N-1)s²)", MAHANKALI, product_distributions),
    Check("uniform tasks", "GD layers on drawn tasks", "their loss in closed form", VON_OSWALD, uniform_tasks),
    Check("plateaus of training", "loss of the best rank-m layers", "the plateaus L_m", ZHANG_SINGH, plateaus),
    Check("shipped layers", "lsa-1layer, every seed", "M* of its law, within 5 %", VON_OSWALD, shipped_layers),
)  # fmt: skip
