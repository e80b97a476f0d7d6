"""Models with a known certificate, and what the probe says of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.models import RegressionConfig, RegressionTransformer, from_transformer, initialise
from mesascope.models.subject import Source
from mesascope.probes.gd_certificate.probe import GDCertificate
from mesascope.probes.regression import nulls
from torch import Tensor

from ..measured import Measured

TASKS = {"n_context": 10, "d_in": 3, "d_out": 1, "input_range": 1.0, "weight_scale": 1.0, "noise": 0.0}


def certified(module: RegressionTransformer, probe: GDCertificate | None = None, **tasks: Any) -> Measured:
    """Of a model whose file records these tasks; of one without a record where there are none."""
    probe = probe or GDCertificate()
    subject = from_transformer(module)
    record = {"recipe": {"tasks": TASKS | {"d_in": subject.d_in} | tasks}} if tasks else {}
    subject.source = replace(subject.source, record=record)
    findings = probe.measure(subject, seed=0, batch_size=1)
    return Measured(findings, probe.claim(findings.measures, (subject.source,)))


def random_module(d_in: int = 3, seed: int = 1, scale: float = 0.5, **settings: Any) -> RegressionTransformer:
    config = RegressionConfig(d_in=d_in, d_head=settings.pop("d_head", 4), **settings)
    return initialise(config, scale, torch.Generator().manual_seed(seed))


def step_module(M: Tensor, **settings: Any) -> RegressionTransformer:
    """One head whose effective matrix is M: KQ = [[M, 0], [0, 0]], PV = diag(0, -1)."""
    d = len(M)
    KQ, PV = torch.zeros(2, 1, 1, d + 1, d + 1, dtype=torch.float64)
    KQ[..., :d, :d], PV[..., d, d] = M, -1.0
    return RegressionTransformer.from_products(RegressionConfig(d_in=d, **settings), KQ, PV)


def mean_loss(module: RegressionTransformer, inputs: Tensor, targets: Tensor) -> tuple[float, float]:
    """Over tasks, with its standard error."""
    losses = 0.5 * (module(inputs) - targets).square().sum(dim=1)
    return float(losses.mean()), float(losses.std() / len(losses) ** 0.5)


def gaussian_tasks(
    covariance: Tensor, n_context: int, n: int, seed: int, noise: float = 0.0, weights: float = 1.0, d_out: int = 1
) -> tuple[Tensor, Tensor]:
    """Tokens and targets of `n` tasks with inputs x = z C^T, where C C^T is the covariance."""
    rng, d = torch.Generator().manual_seed(seed), len(covariance)
    values, vectors = torch.linalg.eigh(covariance)
    factor = vectors * values.clamp(min=0).sqrt()
    x = torch.randn(n, n_context + 1, d, generator=rng, dtype=torch.float64) @ factor.mT
    w = weights * torch.randn(n, d, d_out, generator=rng, dtype=torch.float64)
    y = x @ w
    targets = y[:, -1].clone()
    y += noise * torch.randn(y.shape, generator=rng, dtype=torch.float64)
    y[:, -1] = 0
    return torch.cat([x, y], dim=-1), targets


@pytest.fixture(autouse=True)
def few_untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tenth of the untrained models: they take most of the time."""
    monkeypatch.setattr(nulls, "UNTRAINED", 5)


@pytest.fixture
def covariance_file(tmp_path: Path) -> Callable[..., str]:
    """A path to a covariance, as `.npz`, or as `.npy` by another name."""

    def write(covariance: Any, name: str = "covariance.npz") -> str:
        path = tmp_path / name
        if path.suffix == ".npy":
            np.save(path, np.asarray(covariance))
        else:
            np.savez(path, covariance=np.asarray(covariance))
        return str(path)

    return write


@pytest.fixture(scope="session", name="certified")
def certified_fixture() -> Callable[..., Measured]:
    return certified


@pytest.fixture(scope="session", name="random_module")
def random_module_fixture() -> Callable[..., RegressionTransformer]:
    return random_module


@pytest.fixture(scope="session", name="step_module")
def step_module_fixture() -> Callable[..., RegressionTransformer]:
    return step_module


@pytest.fixture(scope="session", name="mean_loss")
def mean_loss_fixture() -> Callable[..., tuple[float, float]]:
    return mean_loss


@pytest.fixture(scope="session", name="gaussian_tasks")
def gaussian_tasks_fixture() -> Callable[..., tuple[Tensor, Tensor]]:
    return gaussian_tasks


@pytest.fixture
def source() -> Source:
    return Source("model", layout="in-memory", facts={"n_layers": 1, "d_in": 3})
