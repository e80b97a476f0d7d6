"""Cosines of sensitivities: exact at every scale, and none for what has no direction."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mesascope.probes.comparing.behaviour import cosine
from torch import Tensor


@pytest.fixture
def pair(rng: np.random.Generator) -> tuple[Tensor, Tensor]:
    a, b = rng.normal(size=(2, 20, 2, 3))
    return torch.from_numpy(a), torch.from_numpy(b - 3 * a)


def by_numpy(a: Tensor, b: Tensor) -> np.ndarray:
    x, y = a.flatten(1).numpy(), b.flatten(1).numpy()
    return np.array([p @ q / (np.sqrt(p @ p) * np.sqrt(q @ q)) for p, q in zip(x, y, strict=True)])


@pytest.mark.parametrize("scale", [1.0, 1e-8, 1e-12, 1e-200, 1e200])
def test_a_cosine_has_no_scale(pair: tuple[Tensor, Tensor], scale: float) -> None:
    """With 1e-8 added to each norm, a sensitivity of 1e-8 would have half its cosine."""
    a, b = pair
    np.testing.assert_allclose(cosine(a * scale, b), by_numpy(a, b), rtol=1e-12)
    np.testing.assert_allclose(cosine(a, b * scale), by_numpy(a, b), rtol=1e-12)
    assert float(cosine(a * scale, -a).mean()) == pytest.approx(-1, abs=1e-12)


def test_what_is_zero_has_no_direction(pair: tuple[Tensor, Tensor]) -> None:
    a, b = pair
    a[4] = 0
    found = cosine(a, b)
    assert found[4] == 0
    assert (found[:4] != 0).all()
    assert torch.equal(cosine(torch.zeros_like(a), b), torch.zeros(20, dtype=torch.float64))
