"""Rotary positions: angles by complex numbers, and what they leave alone."""

from __future__ import annotations

import cmath

import pytest
import torch
from mesascope.models import Rotary


@pytest.mark.parametrize("interleaved", [False, True])
def test_pairs_turn_as_complex_numbers(interleaved: bool) -> None:
    rotary = Rotary(Rotary.of_base(100.0, 4).frequencies, interleaved)
    assert rotary.frequencies.tolist() == pytest.approx([1.0, 0.1])
    x = torch.randn(2, 3, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    turned = rotary.rotate(x, torch.tensor([0, 4, 11]))
    for batch in range(2):
        for row, position in enumerate((0, 4, 11)):
            for n, frequency in enumerate((1.0, 0.1)):
                a, b = (2 * n, 2 * n + 1) if interleaved else (n, n + 2)
                old, new = x[batch, row], turned[batch, row]
                number = complex(old[a], old[b]) * cmath.exp(1j * position * frequency)
                assert complex(new[a], new[b]) == pytest.approx(number, rel=1e-12)
    assert torch.equal(turned[..., 4], x[..., 4])  # beyond the pairs
    assert torch.equal(turned[:, 0], x[:, 0])  # position 0


@pytest.mark.parametrize("interleaved", [False, True])
def test_scores_depend_on_the_offset_alone(interleaved: bool) -> None:
    rotary = Rotary(Rotary.of_base(10_000.0, 6).frequencies, interleaved)
    q, k = torch.randn(2, 1, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    scores = [
        float((rotary.rotate(q, torch.tensor([first + 3])) * rotary.rotate(k, torch.tensor([first]))).sum())
        for first in (0, 5, 70_000)
    ]
    assert scores == pytest.approx([scores[0]] * 3, rel=1e-9)
    other = float((rotary.rotate(q, torch.tensor([4])) * rotary.rotate(k, torch.tensor([0]))).sum())
    assert other != pytest.approx(scores[0], rel=1e-3)


def test_angles_keep_their_digits_far_away() -> None:
    """In float32, position 1,000,000 times a frequency would be wrong in the first digits of its sine."""
    rotary = Rotary.of_base(10_000.0, 4)
    x = torch.ones(1, 4)
    near = rotary.rotate(x.double(), torch.tensor([1_000_003]))
    torch.testing.assert_close(rotary.rotate(x, torch.tensor([1_000_003])).double(), near, rtol=1e-6, atol=1e-6)
