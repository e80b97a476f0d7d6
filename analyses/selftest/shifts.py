"""What a trained layer of linear attention does on tasks of other laws than its own."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import product

import numpy as np
import torch

from ...data.regression import LinearRegression
from ...probes.algorithms import named
from ...probes.algorithms.spectrum import decompose
from ...probes.gd_certificate import optimum
from ...probes.gd_certificate.optimum import Law
from .agreement import Agreement, Check, same
from .one_layer import MIXED, layer_of, mean_loss, tasks_of
from .sources import ZHANG

SCALE = 3.0


def input_scale(device: torch.device) -> Iterator[Agreement]:
    """With inputs and labels c times as large, a layer's answers are c³ times as large, least squares' c times."""
    law = Law(torch.eye(5, dtype=torch.float64) / 12, 8, -1.2)
    layer = layer_of(optimum.optimal_matrix(law)).to(device)
    tasks = LinearRegression(8, 5).sample(100, seed=1).inputs.to(device)
    yield same(layer(SCALE * tasks), SCALE**3 * layer(tasks))
    scaled, plain = (named.MINIMUM_NORM.predictions(decompose(inputs, 5)) for inputs in (SCALE * tasks, tasks))
    yield same(scaled, SCALE * plain)


def length_and_noise(device: torch.device) -> Iterator[Agreement]:
    """Trained at N without noise, read at M = 2 with noise: tr Λ - 2 tr Λ²Γ⁻¹ + tr ΛΓ⁻¹ΛΓ'Γ⁻¹, Γ' that of M and σ²."""
    law = Law(MIXED, 2, noise_variance=0.25)
    tasks, size = tasks_of(law, "normal"), MIXED.trace()
    of_test = 1.5 * MIXED + (size + 0.25) / 2 * torch.eye(2, dtype=torch.float64)
    for n in (2, 7, 40):
        trained = torch.linalg.inv((1 + 1 / n) * MIXED + size / n * torch.eye(2, dtype=torch.float64))
        quadratic = (MIXED @ trained @ MIXED @ of_test @ trained).trace()
        risk = float(size - 2 * (MIXED @ MIXED @ trained).trace() + quadratic)
        yield same(2 * optimum.expected_loss(trained / 2, law), risk)
        yield same(2 * mean_loss(layer_of(trained / 2), tasks, device), risk)


def random_covariances(_: torch.device) -> Iterator[Agreement]:
    """Variances of inputs that each task draws anew from Exp(1): η* = 2 / (6 + (10 + 2d)/N), which goes to 1/3."""
    drawn = list(zip(*np.polynomial.laguerre.laggauss(4), strict=True))
    for n in (4, 20, 10**9):
        losses = np.zeros(3)
        for (first, p), (second, q) in product(drawn, drawn):
            law = Law(torch.diag(torch.tensor([first, second], dtype=torch.float64)), n)
            rates = torch.eye(2, dtype=torch.float64) / n
            losses += p * q * np.array([optimum.expected_loss(rate * rates, law) for rate in range(3)])
        slope, curvature = (4 * losses[1] - 3 * losses[0] - losses[2]) / 2, losses[0] - 2 * losses[1] + losses[2]
        yield same(-slope / curvature, 2 / (6 + 14 / n))


CHECKS = (
    Check("scaled inputs", "answers of a layer, of OLS", "c³ and c times as large", ZHANG, input_scale),
    Check("other lengths and noise", "loss of a layer that runs", "a closed form in M and σ²", ZHANG, length_and_noise),
    Check("random covariances", "best rate over covariances", "2/(6+(10+2d)/N)", ZHANG, random_covariances),
)
