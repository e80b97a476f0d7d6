"""Means without a draw: moments of each random number, and of tasks as they are drawn."""

from __future__ import annotations

import pytest
import torch
from mesascope.analyses.selftest.exact_means import EveryTask, Shape, every_value

MOMENTS: dict[Shape, list[float]] = {"normal": [1, 0, 1, 0, 3, 0, 15], "uniform": [1, 0, 1, 0, 9 / 5, 0, 27 / 7]}
ROOT = torch.tensor([[1.0, 0.3], [0.3, 0.8]], dtype=torch.float64)


@pytest.mark.parametrize(("shape", "expected"), MOMENTS.items())
def test_moments_are_exact_to_their_degree(shape: Shape, expected: list[float]) -> None:
    values, weight = every_value(1, 3, shape)
    found = [float(weight @ values[:, 0] ** power) for power in range(7)]
    assert found[:6] == pytest.approx(expected[:6], abs=1e-14)
    assert found[6] != pytest.approx(expected[6], rel=0.05), "three values are too few"
    values, weight = every_value(1, 4, shape)
    assert float(weight @ values[:, 0] ** 6) == pytest.approx(expected[6], rel=1e-13)


def test_numbers_are_independent() -> None:
    values, weight = every_value(3, 3, "normal")
    assert len(values) == 27
    assert float(weight @ (values[:, 0] ** 2 * values[:, 1] ** 4 * values[:, 2] ** 2)) == pytest.approx(3, rel=1e-13)


@pytest.mark.parametrize("shape", MOMENTS)
def test_tasks_are_those_of_their_law(shape: Shape) -> None:
    tasks = EveryTask.of(ROOT, 0.5, 1.5, shape)
    covariance = ROOT @ ROOT.mT
    x, y = tasks.inputs[..., :2], tasks.inputs[..., 2]
    for token in range(3):
        second = tasks.mean(x[:, token, :, None] * x[:, token, None])
        torch.testing.assert_close(second, covariance, rtol=1e-12, atol=1e-12)
    labels = tasks.mean(y[:, :2].square())
    torch.testing.assert_close(labels, (1.5**2 * covariance.trace() + 0.25).expand(2), rtol=1e-12, atol=0)
    assert y[:, 2].abs().max() == 0
    torch.testing.assert_close(tasks.target[:, 0], (x[:, 2] * tasks.teacher).sum(dim=1), rtol=1e-12, atol=1e-12)
    noise = y[:, :2] - (x[:, :2] * tasks.teacher[:, None]).sum(dim=2)
    assert tasks.mean(noise).abs().max() < 1e-14
    torch.testing.assert_close(tasks.correlation, (x[:, :2] * y[:, :2, None]).sum(dim=1), rtol=1e-12, atol=1e-12)
