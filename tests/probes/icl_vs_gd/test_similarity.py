"""Similarities: closed forms, loops, floors that the formulas have by construction, and what does not exist."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from mesascope.probes.icl_vs_gd.similarity import (
    cosine_of_differences,
    label_swap_contrast,
    output_similarity,
    score_shift_similarity,
    score_similarity,
)
from torch import Tensor


def draw(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def cosine(a: np.ndarray, b: np.ndarray) -> float:
    return float(a @ b / math.sqrt((a @ a) * (b @ b)))


def test_a_thing_is_like_itself() -> None:
    icl, swapped, zs = draw(3, 5, 8), draw(3, 5, 8, seed=1), draw(3, 5, 8, seed=2)
    for found in (
        output_similarity(icl, icl, zs),
        output_similarity(icl, icl, zs, normed=False),
        label_swap_contrast(icl, swapped, icl, swapped),
        score_similarity(icl, icl),
        score_shift_similarity(icl, icl, zs),
    ):
        torch.testing.assert_close(found, torch.ones_like(found), rtol=0, atol=1e-12)


def test_formulas_by_loops() -> None:
    a, b, c, d = (draw(4, 8, seed=seed) for seed in range(4))
    units = [(x / x.norm(dim=-1, keepdim=True)).numpy() for x in (a, b, c, d)]
    for q in range(4):
        icl, ft, zs, other = (x[q] for x in units)
        assert output_similarity(a, b, c)[q] == pytest.approx(cosine(icl - zs, ft - zs), abs=1e-12)
        assert label_swap_contrast(a, b, c, d)[q] == pytest.approx(cosine(icl - ft, zs - other), abs=1e-12)
        raw = cosine((a - c)[q].numpy(), (b - c)[q].numpy())
        assert output_similarity(a, b, c, normed=False)[q] == pytest.approx(raw, abs=1e-12)
    m, n, zero = (draw(4, 3, 5, seed=seed) for seed in range(3))
    for q in range(4):
        heads = [cosine(m[q, h].numpy(), n[q, h].numpy()) for h in range(3)]
        shifts = [cosine((m - zero)[q, h].numpy(), (n - zero)[q, h].numpy()) for h in range(3)]
        assert score_similarity(m, n)[q] == pytest.approx(np.mean(heads), abs=1e-12)
        assert score_shift_similarity(m, n, zero)[q] == pytest.approx(np.mean(shifts), abs=1e-12)


@pytest.mark.parametrize("d", [16, 768])
def test_one_shared_endpoint_makes_a_half_and_none_makes_nothing(d: int) -> None:
    icl, ft, zs, other = (draw(4000, d, seed=seed) for seed in range(4))
    assert output_similarity(icl, ft, zs).mean() == pytest.approx(0.5, abs=0.02)
    assert label_swap_contrast(icl, other, ft, zs).mean() == pytest.approx(0.0, abs=0.02)


@pytest.mark.parametrize("kind", [torch.float64, torch.float32])
def test_without_a_difference_there_is_no_direction(kind: torch.dtype) -> None:
    icl, zs = draw(5, 8).to(kind), draw(5, 8, seed=1).to(kind)
    rounded = zs * (1 + torch.finfo(kind).eps)
    for same in (zs, rounded):
        for measure in (output_similarity(icl, same, zs), output_similarity(same, icl, zs)):
            assert measure.isnan().all()
        assert label_swap_contrast(icl, zs, same, zs).isnan().all()
        assert output_similarity(icl, same, zs, normed=False).isnan().all()
    moved = zs + 1e-3 * icl
    assert output_similarity(icl, moved, zs).isfinite().all()


@pytest.mark.parametrize(("size", "exists"), [(1e-6, False), (1e-4, True)])
def test_a_difference_that_float32_rounds_away_is_none_in_float64_either(size: float, exists: bool) -> None:
    """Many families compute norms in float32, whatever the precision of the pass."""
    icl, zs, ft = draw(5, 8), draw(5, 8, seed=1), draw(5, 8, seed=2)
    near = icl / icl.norm(dim=-1, keepdim=True) + size * draw(5, 8, seed=3)
    assert bool(label_swap_contrast(icl, near, ft, zs).isfinite().all()) == exists


def test_scores_of_fewer_than_three_tokens_have_no_direction() -> None:
    for own, exists in ((1, False), (2, False), (3, True)):
        m, n, zs = (draw(2, 4, own, seed=seed) for seed in range(3))
        for found in (score_similarity(m, n), score_shift_similarity(m, n, zs)):
            assert found.shape == (2,)
            assert found.isfinite().all() == exists


def test_a_small_numbers_cosine_is_exact() -> None:
    a, b = draw(3, 6), draw(3, 6, seed=1)
    nothing = torch.zeros_like(a)
    tiny = cosine_of_differences(1e-9 * a, nothing, 1e-9 * b, nothing)
    torch.testing.assert_close(tiny, cosine_of_differences(a, nothing, b, nothing), rtol=1e-12, atol=1e-12)


Measure = Callable[..., Tensor]


@pytest.mark.parametrize("measure", [output_similarity, label_swap_contrast], ids=["SimAOU", "contrast"])
def test_lengths_of_outputs_do_not_matter(measure: Measure) -> None:
    given = [draw(3, 8, seed=seed) for seed in range(3 if measure is output_similarity else 4)]
    longer = [x * (2.0 + n) for n, x in enumerate(given)]
    torch.testing.assert_close(measure(*longer), measure(*given), rtol=1e-12, atol=1e-12)
