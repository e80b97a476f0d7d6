"""Models whose layers hold known linear models, and what the probe says of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from mesascope.models import RegressionConfig, RegressionTransformer, Regressor, from_transformer, initialise
from mesascope.probes.implicit_weights import judging
from mesascope.probes.implicit_weights.probe import ImplicitWeights

from ..measured import Measured

D, N = 3, 8


@dataclass(frozen=True)
class Read(Measured):
    @property
    def arrays(self) -> dict[str, np.ndarray]:
        return dict(self.findings.arrays)


def read(
    subject: Regressor | RegressionTransformer, n: int | None = 60, seed: int = 0, batch: int = 64, **settings: Any
) -> Read:
    """Findings and card of a small measurement."""
    held = from_transformer(subject) if isinstance(subject, RegressionTransformer) else subject
    probe = ImplicitWeights(limit=n, **({} if "tasks" in settings else {"n_context": N}), **settings)
    findings = probe.measure(held, seed, batch)
    return Read(findings, probe.claim(findings.measures, (held.source,)))


def random_module(seed: int = 1, scale: float = 0.5, **settings: Any) -> RegressionTransformer:
    config = RegressionConfig(d_in=D, d_head=4, **settings)
    return initialise(config, scale, torch.Generator().manual_seed(seed))


@pytest.fixture(autouse=True)
def few_untrained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(judging, "NULLS", 2)
    monkeypatch.setattr(judging, "NULL_TASKS", 20)


@pytest.fixture(scope="session", name="read")
def read_fixture() -> Callable[..., Read]:
    return read


@pytest.fixture(scope="session", name="random_module")
def random_module_fixture() -> Callable[..., RegressionTransformer]:
    return random_module
