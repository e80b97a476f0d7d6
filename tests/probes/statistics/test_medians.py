"""Medians over seeds of which some are censored."""

from __future__ import annotations

import math

import numpy as np
import pytest
from mesascope.probes.attention_learning.crossings import crossing_ends, lead_ends
from mesascope.probes.statistics.medians import Ends, Median, median_of
from scipy import stats


def exactly(*values: float) -> list[Ends]:
    return [Ends(value, value) for value in values]


def test_the_interval_is_the_widest_rank_that_covers() -> None:
    """By the binomial law, for up to 60 seeds: the next rank inwards would not cover 95 %."""
    for n in range(6, 61):
        low, high = median_of(exactly(*range(n))).interval
        assert low + high == n - 1
        outside = 2 * stats.binom.cdf([low, low + 1], n, 0.5)
        assert outside[0] <= 0.05 < outside[1]


def test_the_interval_covers_whatever_the_distribution(rng: np.random.Generator) -> None:
    drawn = rng.exponential(size=(2_000, 10))
    ends = np.array([median_of(exactly(*row)).interval for row in drawn])
    covered = ((ends[:, 0] <= math.log(2)) & (math.log(2) <= ends[:, 1])).mean()
    assert covered == pytest.approx(1 - 2 * stats.binom.cdf(1, 10, 0.5), abs=0.012)


def test_medians_without_censoring() -> None:
    assert median_of(exactly(5, 1, 3, 9, 7, 11)) == Median(6.0, (1.0, 11.0), "")
    few = median_of(exactly(5, 1, 3, 9, 7))
    assert few.value == 5
    assert np.isnan(few.interval).all()
    assert few.words == "5 seeds: a median has a 95% interval from 6 on"
    assert median_of(exactly(5)).words.startswith("1 seed:")


def test_no_seeds() -> None:
    found = median_of([])
    assert math.isnan(found.value)
    assert found.words == "there are no seeds"


def test_few_seeds_that_never_cross_leave_the_median_known() -> None:
    """Two of nine: the median and the lower end are those of the others, the upper end is open."""
    seeds = [crossing_ends(step, 100) for step in (20, 30, 40, 50, 60, 70, 80, None, None)]
    found = median_of(seeds)
    assert found.value == 60
    assert found.interval[0] == 30
    assert math.isnan(found.interval[1])
    assert found.words == "its interval: at least 30"


def test_more_leave_it_open() -> None:
    seeds = [crossing_ends(step, 100) for step in (20, 30, 40, None, None, None, None)]
    found = median_of(seeds)
    assert math.isnan(found.value)
    assert found.interval[0] == 20
    assert found.words == "the median is at least 100; its interval: at least 20"
    # half of an even number: one of the two middle seeds crosses
    assert median_of(seeds[:6]).words.startswith("the median is at least 70;")


def test_leads_that_are_censored_on_either_side() -> None:
    after = median_of([lead_ends(20, None, 100)] * 6)
    assert after.words == "the median is at least 80; its interval: at least 80"
    assert after.interval[0] == 80
    before = median_of([lead_ends(None, 20, 100)] * 6)
    assert before.words == "the median is at most -80; its interval: at most -80"
    assert before.interval[1] == -80
    neither = median_of([lead_ends(None, None, 100)] * 6)
    assert neither.words == "the median is not known; its interval: not known"
    assert np.isnan([neither.value, *neither.interval]).all()
    both = median_of([lead_ends(20, None, 100), lead_ends(None, 20, 100), *exactly(4, 5, 6, 7, 8, 9, 10)])
    assert (both.value, *both.interval) == (7, 4, 10)
    assert both.words == ""


def test_numbers_between_two_ends() -> None:
    found = median_of([Ends(1, 4), Ends(2, 3), Ends(5, 9)])
    assert math.isnan(found.value)
    assert found.words.startswith("the median is between 2 and 4;")


def test_whatever_a_censored_seed_is_the_interval_holds_that_of_the_full_data(rng: np.random.Generator) -> None:
    """Uncensored leads of drawn crossings are as far apart as the ends say, or less."""
    last = 60
    for _ in range(200):
        steps = rng.integers(0, 100, size=(9, 2)).tolist()
        seen = [[step if step <= last else None for step in of] for of in steps]
        full = median_of(exactly(*(attention - ktiw for ktiw, attention in steps)))
        found = median_of([lead_ends(*of, last) for of in seen])
        assert math.isnan(found.value) or found.value == full.value
        low, high = found.interval
        assert math.isnan(low) or low <= full.interval[0]
        assert math.isnan(high) or high >= full.interval[1]
