"""The paired test: exact where it can be worked out, calibrated under its null, blind to what must not matter."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from mesascope.probes.statistics.sign_flips import MARGIN, adjusted, flips_needed, sequences_needed, sign_flip_p


def exact_p(differences: np.ndarray) -> float:
    """By going through all flips."""
    sums = [np.dot(signs, differences) for signs in itertools.product((-1, 1), repeat=len(differences))]
    return float(np.mean(np.array(sums) >= differences.sum() - 1e-9))


def test_p_is_the_share_of_all_flips(rng: np.random.Generator) -> None:
    differences = rng.normal(0.3, 1.0, size=(9, 2, 3))
    found = sign_flip_p(differences, 40_000, seed=0)
    assert found.shape == (2, 3)
    for cell in np.ndindex(2, 3):
        expected = exact_p(differences[:, *cell])
        assert found[cell] == pytest.approx(expected, abs=4 * np.sqrt(expected / 40_000) + 1e-4)


def test_certain_and_absent_differences() -> None:
    differences = np.stack([np.full(40, 0.5), np.zeros(40), np.full(40, -0.5)], axis=1)
    found = sign_flip_p(differences, 999, seed=0)
    assert found[0] == 1 / 1000  # the smallest there is
    assert (found[1:] == 1.0).all()


def test_flips_that_reach_the_same_sum_count() -> None:
    assert sign_flip_p(np.full((3, 1), 0.1), 4_000, seed=0).item() == pytest.approx(1 / 8, abs=0.02)


def test_under_the_null_p_is_uniform_whatever_the_distribution(rng: np.random.Generator) -> None:
    """Heavy tails, and scales that differ from sequence to sequence: exchangeability is all that is needed."""
    scales = rng.lognormal(0, 1.5, size=(20, 1))
    differences = rng.standard_t(2, size=(20, 4000)) * scales
    p = sign_flip_p(differences, 2_000, seed=1)
    for level in (0.01, 0.05, 0.2, 0.5):
        assert (p <= level).mean() == pytest.approx(level, abs=4 * np.sqrt(level * (1 - level) / 4000))


def test_a_head_that_loses_on_repeats_is_never_significant(rng: np.random.Generator) -> None:
    assert (sign_flip_p(rng.normal(-0.1, 0.1, size=(20, 500)), 2_000, seed=1) > 0.05).mean() > 0.999


def test_the_false_discovery_rate_over_heads(rng: np.random.Generator) -> None:
    """With no head that matches, some head is called in 5 % of models; with real ones, few of the called are false."""
    any_called = []
    for model in range(400):
        p = adjusted(sign_flip_p(rng.normal(size=(16, 12)), flips_needed(12, 0.05), seed=model))
        any_called.append((p <= 0.05).any())
    assert np.mean(any_called) == pytest.approx(0.05, abs=0.033)


def test_order_of_sequences_and_of_heads(rng: np.random.Generator) -> None:
    differences = rng.normal(0.2, 1.0, size=(16, 8))
    found = sign_flip_p(differences, 500, seed=3)
    assert np.array_equal(sign_flip_p(differences, 500, seed=3), found)
    assert np.array_equal(sign_flip_p(differences[:, ::-1], 500, seed=3), found[::-1])
    assert np.allclose(sign_flip_p(differences[::-1], 500, seed=3), found, atol=0.1)
    assert not np.array_equal(sign_flip_p(differences, 500, seed=4), found)


def test_chunks_change_nothing(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    differences = rng.normal(0.2, 1.0, size=(16, 8))
    whole = sign_flip_p(differences, 500, seed=3)
    monkeypatch.setattr("mesascope.probes.statistics.sign_flips._NUMBERS", 160)
    assert np.array_equal(sign_flip_p(differences, 500, seed=3), whole)


@pytest.mark.parametrize("heads", [1, 8, 144, 1024])
def test_the_smallest_p_passes_with_a_margin(heads: int) -> None:
    level = 0.05
    smallest = max(2.0 ** -sequences_needed(heads, level), 1 / (1 + flips_needed(heads, level)))
    p = np.ones(heads)
    p[0] = smallest * MARGIN
    assert adjusted(p)[0] <= level
    assert 2.0 ** -(sequences_needed(heads, level) - 1) > level / MARGIN / heads  # and no more than needed


def test_adjusted_keeps_the_axes_of_heads() -> None:
    p = np.array([[0.01, 0.02], [0.03, 0.5]])
    assert np.allclose(adjusted(p), [[0.04, 0.04], [0.04, 0.5]])
