"""The construction is a gradient step of softmax regression, up to a rest that falls linearly in its sharpness."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mesascope.data import SoftmaxRegression
from mesascope.models import softmax_gradient_layer
from torch import Tensor

RATE = 40.0


@pytest.fixture
def tasks() -> tuple[Tensor, Tensor]:
    batch = SoftmaxRegression().sample(50, seed=0)
    return batch.inputs, batch.targets


def one_step(A: np.ndarray, b: np.ndarray) -> np.ndarray:
    """f after x <- 0 - RATE grad L(0), task by task."""
    n, found = b.shape[1], []
    for rows, targets in zip(A, b, strict=True):
        f = np.full(n, 1 / n)
        x = -RATE * rows.T @ (np.diag(f) - np.outer(f, f)) @ (f - targets)
        powers = np.exp(rows @ x)
        found.append(powers / powers.sum())
    return np.stack(found)


def gap(tasks: tuple[Tensor, Tensor], sharpness: float, scale: float = 1.0) -> float:
    """Mean prediction difference to the step."""
    A, b = tasks
    layer = softmax_gradient_layer(b.shape[1], RATE, A.shape[2], sharpness, scale)
    return float(np.linalg.norm(layer(A, b).numpy() - one_step(A.numpy(), b.numpy()), axis=1).mean())


def test_what_is_left_falls_linearly_in_the_sharpness(tasks: tuple[Tensor, Tensor]) -> None:
    gaps = [gap(tasks, sharpness) for sharpness in (1e-2, 1e-3, 1e-4)]
    assert gaps[0] == pytest.approx(0.0095, abs=0.002)  # measured elsewhere for this law: .0095
    assert gaps[1] / gaps[0] == pytest.approx(0.1, rel=0.05)
    assert gaps[2] / gaps[1] == pytest.approx(0.1, rel=0.02)


@pytest.mark.parametrize(("sharpness", "scale"), [(1e-4, 16.0), (-1e-4, 1.0), (-1e-4, 0.5)])
def test_sign_and_output_scale_are_free(tasks: tuple[Tensor, Tensor], sharpness: float, scale: float) -> None:
    assert gap(tasks, sharpness, scale) < 2e-4


def test_a_wrong_transpose_or_sign_would_be_another_step(tasks: tuple[Tensor, Tensor]) -> None:
    A, b = tasks
    layer = softmax_gradient_layer(25, -RATE, 20, 1e-4)
    assert float((layer(A, b) - torch.from_numpy(one_step(A.numpy(), b.numpy()))).norm(dim=1).mean()) > 0.5
