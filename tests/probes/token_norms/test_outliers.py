"""Outliers: planted ones are found where they are, absent ones are not, and every estimate beside its definition."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mesascope.models.subject import AttentionScores
from mesascope.probes.token_norms.outliers import (
    anisotropy,
    contributions,
    directions,
    extremes,
    first_attention,
    massive,
    massive_dimensions,
    massive_windows,
    rogue,
    sink_importance,
)


def attention(to_first: float | None, tokens: int = 80, causal: bool = True) -> AttentionScores:
    """Attention that is uniform, or that has a score for the first key and 0 for the others."""
    q, k = torch.zeros(2, 3, tokens, 4).double(), torch.zeros(2, 3, tokens, 4).double()
    if to_first is not None:
        q[..., 1], k[:, :, 0, 1] = 1.0, to_first
    return AttentionScores.of(q, k, scale=1.0, causal=causal)


def test_all_attention_on_the_first_key() -> None:
    scores = attention(1e3)
    np.testing.assert_allclose(sink_importance(scores), 1, atol=1e-12)
    np.testing.assert_allclose(first_attention(scores), 1, atol=1e-12)


@pytest.mark.parametrize("tokens", [5, 64, 80, 81])
def test_uniform_attention_has_the_analytic_value(tokens: int) -> None:
    """A causal query i pays 1 / (i + 1) to every key: the mean over 64 queries is a harmonic number."""
    scores = attention(None, tokens)
    queries = np.arange(1, min(tokens, 64) + 1)
    np.testing.assert_allclose(sink_importance(scores), (1 / queries).mean(), rtol=1e-10)
    second_half = np.arange(tokens)[np.arange(tokens) >= tokens / 2]
    np.testing.assert_allclose(first_attention(scores), (1 / (1 + second_half)).mean(), rtol=1e-10)
    both = attention(None, tokens, causal=False)
    np.testing.assert_allclose(sink_importance(both), 1 / tokens, rtol=1e-10)


def test_later_tokens_do_not_change_the_sink_metric() -> None:
    np.testing.assert_allclose(sink_importance(attention(2.0, 64)), sink_importance(attention(2.0, 200)), rtol=1e-10)


def test_extremes_by_sorting(rng: np.random.Generator) -> None:
    state = rng.normal(size=(3, 6, 5))
    found = extremes(torch.from_numpy(state))
    for b, one in enumerate(np.abs(state)):
        for place, part in enumerate((one[:1], one[1:])):
            np.testing.assert_allclose(found.top[place, b], np.sort(part.ravel())[::-1][:3])
            np.testing.assert_allclose(found.dimensions[place, b], part.max(axis=0))
        assert found.median[b] == np.sort(one.ravel())[(30 - 1) // 2]


@pytest.mark.parametrize("place", [0, 1, 4])
@pytest.mark.parametrize(
    ("size", "scale", "is_massive"), [(90, 0.01, False), (110, 0.01, True), (110, 1, False), (5_000, 1, True)]
)
def test_windows_with_massive_entries(
    place: int, size: float, scale: float, is_massive: bool, rng: np.random.Generator
) -> None:
    """One entry in the second of three sequences has to be above 100, and above 1,000 times the median."""
    state = scale * rng.normal(size=(3, 6, 5))
    state[1, place, 2] = -size
    expected = np.zeros((2, 3, 5), dtype=bool)
    expected[min(place, 1), 1, 2] = is_massive
    np.testing.assert_array_equal(massive_dimensions(extremes(torch.from_numpy(state))), expected)
    np.testing.assert_array_equal(massive_windows(torch.from_numpy(state)), expected.any(axis=-1).T)


def test_fewer_entries_than_ranks() -> None:
    found = extremes(torch.ones(1, 3, 2))
    assert found.top[0, 0, :2].tolist() == [1, 1]
    assert found.top[0, 0, 2].isnan()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32])
def test_extremes_of_halves_are_those_of_the_stored_values(dtype: torch.dtype, rng: np.random.Generator) -> None:
    stored = torch.from_numpy(rng.normal(size=(2, 4, 8)) * 100).to(dtype)
    for half, wide in zip(extremes(stored), extremes(stored.double()), strict=True):
        assert torch.equal(half, wide)


@pytest.mark.parametrize(("size", "found"), [(99.0, False), (101.0, True), (-5e3, True)])
def test_a_massive_activation_is_large_and_many_times_the_median(size: float, found: bool) -> None:
    state = torch.full((1, 4, 6), 0.05)
    state[0, 2, 4] = size
    seen = extremes(state)
    flags = massive(seen.dimensions.numpy(), np.broadcast_to(seen.median.numpy(), (2, 1)))
    assert not flags[0].any()
    assert flags[1, 0].tolist() == [False] * 4 + [found, False]


@pytest.mark.parametrize(("size", "found"), [(101.0, False), (-5e3, True)])
def test_what_is_large_everywhere_is_not_massive(size: float, found: bool) -> None:
    """No thousand times the median any more."""
    state = torch.full((1, 4, 6), 0.05)
    state[0, :, :4] = 0.2
    state[0, 2, 4] = size
    seen = extremes(state)
    flags = massive(seen.dimensions.numpy(), np.broadcast_to(seen.median.numpy(), (2, 1)))
    assert flags[1, 0, 4] == found


def test_anisotropy_is_the_mean_over_all_pairs(rng: np.random.Generator) -> None:
    states = rng.normal(size=(9, 5)) + 0.5
    u = directions(torch.from_numpy(states)).numpy()
    pairs = [(i, j) for i in range(9) for j in range(9) if i != j]
    slow = np.mean([u[i] * u[j] for i, j in pairs], axis=0)
    total, squares, n = u.sum(axis=0), (u**2).sum(axis=0), np.array(9.0)
    np.testing.assert_allclose(contributions(total, squares, n), slow, atol=1e-12)
    np.testing.assert_allclose(anisotropy(total, n), slow.sum(), atol=1e-12)


def test_states_of_zeros_have_no_direction() -> None:
    found = directions(torch.tensor([[0.0, 0.0], [3.0, 4.0]]))
    np.testing.assert_allclose(found, [[0, 0], [0.6, 0.8]])


def test_rogue_dimensions_in_order() -> None:
    assert rogue(np.array([0.1, -0.7, 0.3, 0.3, 0.0])).tolist() == [1, 2, 3]
