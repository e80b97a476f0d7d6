"""The two-sided p by rank is exact: beside an enumeration of who could have been the value."""

from __future__ import annotations

import numpy as np
import pytest
from mesascope.probes.statistics.null_p import p_words, smallest_p, two_sided_p


def p_of(value: float, *samples: float) -> float:
    return float(two_sided_p(np.array(value), np.array(samples, dtype=np.float64)))


def by_counting(value: float, samples: np.ndarray) -> float:
    """The share of all n + 1 that are at least as far from their mean as the value."""
    everyone = [*samples.tolist(), value]
    middle = sum(everyone) / len(everyone)
    return sum(abs(one - middle) >= abs(value - middle) - 1e-9 for one in everyone) / len(everyone)


def test_a_value_in_the_middle_of_the_samples_has_a_large_p() -> None:
    assert p_of(0.491, 0.294, 0.477, 0.518) == 0.75
    assert p_of(0.0, *range(-9, 0), *range(1, 11)) == 1


@pytest.mark.parametrize("value", [11.0, -11.0, 1e6, -1e6])
def test_a_value_beyond_all_samples_has_the_smallest(value: float) -> None:
    samples = np.linspace(-9, 9, 19)
    assert p_of(value, *samples) == smallest_p(19) == 0.05
    assert p_of(9.5, *samples, -9.6) > smallest_p(20)  # beyond all on its side, but one on the other is as far


def test_ties_are_as_far_out_whatever_the_rounding() -> None:
    assert p_of(0.1 + 0.2, 0.3, 0.3, 0.3) == 1
    assert p_of(1.0, -1.0, 0.0, 0.0) == 0.5
    assert p_of(3.0, *[0.0] * 19) == 0.05


def test_it_is_the_share_of_all_that_are_as_far(rng: np.random.Generator) -> None:
    values, samples = rng.standard_t(2, size=(3, 4)), rng.standard_t(2, size=(7, 3, 4))
    found = two_sided_p(values, samples)
    for at in np.ndindex(values.shape):
        assert found[at] == pytest.approx(by_counting(values[at], samples[:, *at]))


@pytest.mark.parametrize("skew", [False, True])
def test_whoever_is_taken_for_the_value_the_level_is_kept(skew: bool, rng: np.random.Generator) -> None:
    """Of twenty values exactly one has p = 0.05 and exactly two at most 0.1, were each compared with the others."""
    values = rng.exponential(size=20) if skew else rng.normal(size=20)
    p = np.sort([p_of(values[i], *np.delete(values, i)) for i in range(20)])
    np.testing.assert_allclose(p, np.arange(1, 21) / 20)


def test_what_is_no_number_does_not_count() -> None:
    assert p_of(5.0, 0.0, np.nan, 1.0, np.inf) == pytest.approx(1 / 3)
    assert np.isnan(p_of(np.nan, 0.0, 1.0))
    assert np.isnan(p_of(np.inf, 0.0, 1.0))
    assert np.isnan(p_of(1.0, np.nan))
    assert np.isnan(p_of(1.0))
    assert p_of(1.0, 0.0) == 1  # two values are equally far from their middle


def test_p_at_the_floor_of_its_samples_is_written_as_a_limit() -> None:
    assert [p_words(p, 19) for p in (smallest_p(19), 0.1, 1.0)] == ["p ≤ 1/20", "p = 0.1", "p = 1"]
    assert p_words(smallest_p(8), 8) == "p ≤ 1/9"
    assert p_words(1 / 9, 19) == "p = 0.11"
    value, samples = np.array(10.0), np.arange(1_000.0)[:, None] / 1_000
    assert p_words(float(two_sided_p(value[None], samples)[0]), 1_000) == "p ≤ 1/1,001"
