"""Distances and overlaps of distributions: closed forms and loops, and how many tokens may be compared."""

from __future__ import annotations

import math

import pytest
import torch
from mesascope.data import TaskError
from mesascope.probes.few_shot.distributions import check_top, divergence, overlap, overlap_cosine, total_variation
from torch import Tensor


def some_distributions(seed: int, n: int = 6, size: int = 20) -> Tensor:
    rng = torch.Generator().manual_seed(seed)
    return (2 * torch.randn(n, size, generator=rng, dtype=torch.float64)).softmax(-1)


def test_a_distribution_is_like_itself() -> None:
    p = some_distributions(3)
    for found in (overlap(p, p, 5), overlap_cosine(p, p, 5), overlap_cosine(p, p, 5, inside=True)):
        torch.testing.assert_close(found, torch.ones_like(found), rtol=0, atol=1e-12)
    assert total_variation(p, p).abs().max() == 0
    assert divergence(p, p).abs().max() < 1e-15


@pytest.mark.parametrize(
    ("k", "d_vocab", "said"),
    [
        (11, 81, "top = 11 tokens of a vocabulary of 81; expected from 1 to 10: beyond an eighth"),
        (0, 81, "top = 0 tokens of a vocabulary of 81; expected from 1 to 10"),
        (1, 7, "top = 1 tokens of a vocabulary of 7; expected a larger vocabulary"),
    ],
)
def test_no_more_than_an_eighth_of_the_vocabulary_is_compared(k: int, d_vocab: int, said: str) -> None:
    with pytest.raises(TaskError, match=said):
        check_top(k, d_vocab)
    check_top(10, 80)


def test_distances_of_distributions_by_loops() -> None:
    p, q = some_distributions(0), some_distributions(1)
    for n in range(len(p)):
        one, other = p[n].tolist(), q[n].tolist()
        assert total_variation(p, q)[n] == pytest.approx(sum(abs(x - y) for x, y in zip(one, other, strict=True)) / 2)
        assert divergence(p, q)[n] == pytest.approx(sum(x * math.log(x / y) for x, y in zip(one, other, strict=True)))
    apart = torch.eye(3, dtype=torch.float64)[:2]
    assert total_variation(apart[:1], apart[1:]).item() == 1
    assert divergence(apart[:1], apart[1:]).item() == math.inf


def by_loops(p: list[float], q: list[float], k: int) -> tuple[float, float, float]:
    """Overlap and both readings of OCS."""
    best = [sorted(range(len(x)), key=lambda i, x=x: -x[i])[:k] for x in (p, q)]
    common = set(best[0]) & set(best[1])
    product = sum(p[i] * q[i] for i in common)
    squares = sum(p[i] ** 2 for i in common) * sum(q[i] ** 2 for i in common)
    missing = k - len(common)
    return len(common) / k, product / (math.sqrt(squares) + missing), product / math.sqrt(squares + missing)


@pytest.mark.parametrize("k", [1, 3, 7])
def test_overlaps_by_loops(k: int) -> None:
    p, q = some_distributions(0), some_distributions(0) + 0.5 * some_distributions(1)
    for n in range(len(p)):
        shared, outside, inside = by_loops(p[n].tolist(), q[n].tolist(), k)
        assert overlap(p, q, k)[n] == pytest.approx(shared)
        assert overlap_cosine(p, q, k)[n] == pytest.approx(outside)
        assert overlap_cosine(p, q, k, inside=True)[n] == pytest.approx(inside)


def test_one_token_of_ten_weighs_as_much_as_nine() -> None:
    p, q = torch.full((1, 20), 1e-6, dtype=torch.float64), torch.full((1, 20), 1e-6, dtype=torch.float64)
    p[0, :10] = q[0, 1:11] = 0.1
    assert overlap(p, q, 10).item() == 0.9
    assert overlap_cosine(p, q, 10).item() == pytest.approx(0.09 / 1.09)  # .083
