"""Models and tasks of softmax regression, small enough for every test."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from mesascope.data import SoftmaxRegression
from mesascope.models import SoftmaxLayerConfig, SoftmaxRegressor, from_softmax_layer, softmax_gradient_layer
from mesascope.models.own.softmax_layer import initialise_softmax_layer
from mesascope.probes.softmax_regression.setup import Setup
from mesascope.probes.softmax_regression.splits import generated_splits

LAW = SoftmaxRegression(n_tokens=8, d_in=4)
RATE = 12.0


@pytest.fixture
def step_layer() -> SoftmaxRegressor:
    """One gradient step, written down."""
    return from_softmax_layer(softmax_gradient_layer(LAW.n_tokens, RATE, LAW.d_in, 1e-3))


@pytest.fixture
def fresh_layer() -> SoftmaxRegressor:
    rng = torch.Generator().manual_seed(0)
    return from_softmax_layer(initialise_softmax_layer(SoftmaxLayerConfig(LAW.d_in), 0.02, rng))


@pytest.fixture
def setup_of() -> Callable[..., Setup]:
    """(subject, tasks, learning rate) -> the setup of a small measurement."""

    def made(subject: SoftmaxRegressor, n: int = 60, learning_rate: float | None = None) -> Setup:
        return Setup(subject, generated_splits(LAW, n, seed=0), learning_rate, seed=0, batch_size=16)

    return made
