"""Ranges of null samples are called what they are."""

from __future__ import annotations

import numpy as np
import pytest
from mesascope.probes.statistics.ranges import ENOUGH, range_of, words_for
from scipy import stats


def test_of_few_samples_the_range_is_from_the_smallest_to_the_largest(rng: np.random.Generator) -> None:
    samples = rng.normal(size=(3, 4))
    low, high, words = range_of(samples)
    np.testing.assert_array_equal(low, np.sort(samples, axis=0)[0])
    np.testing.assert_array_equal(high, np.sort(samples, axis=0)[-1])
    assert words == "minimum to maximum of 3"


def test_of_many_samples_it_is_the_central_95_percent(rng: np.random.Generator) -> None:
    samples = rng.normal(size=2_000)
    low, high, words = range_of(samples)
    expected = [stats.scoreatpercentile(samples, share) for share in (2.5, 97.5)]
    np.testing.assert_allclose((low, high), expected)
    assert words == "95 % range"


@pytest.mark.parametrize(
    ("n", "words"),
    [(1, "one sample"), (2, "minimum to maximum of 2"), (39, "minimum to maximum of 39"), (40, "95 % range")],
)
def test_the_words_change_where_a_sample_lies_outside(n: int, words: str) -> None:
    assert words_for(n) == words
    assert (0.025 * n >= 1) == (n >= ENOUGH) == (words == "95 % range")


def test_samples_without_a_number_do_not_count() -> None:
    assert range_of(np.array([1.0, np.nan, 3.0]))[:2] == (1.0, 3.0)
