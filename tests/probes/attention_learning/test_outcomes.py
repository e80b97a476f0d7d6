"""What became of runs, in how many, and whether one kind learns less often."""

from __future__ import annotations

import math

import numpy as np
import pytest
from mesascope.probes.attention_learning.names import (
    ANTI_ATTENTION,
    BY_ATTENTION,
    NOT_LEARNED,
    ORDERS,
    OTHERWISE,
    OUTCOMES,
)
from mesascope.probes.attention_learning.outcomes import learns_less_often, outcome_of, share_of, shares_of
from scipy import stats

NAN = math.nan


@pytest.mark.parametrize(
    ("accuracies", "expected"),
    [
        ((1.0, 1.0, 1.0), BY_ATTENTION),
        ((0.95, 0.5, 0.5), BY_ATTENTION),
        ((0.97, 0.0, 0.0), ANTI_ATTENTION),
        ((0.97, 0.099, 0.099), ANTI_ATTENTION),
        ((0.97, 0.1, 0.0), OTHERWISE),
        ((0.97, 0.0, 0.1), OTHERWISE),
        ((0.97, 0.49, 1.0), OTHERWISE),
        ((0.97, 1.0, 0.49), OTHERWISE),
        ((0.94, 1.0, 1.0), NOT_LEARNED),
        ((0.1, 0.0, 0.0), NOT_LEARNED),
        ((0.1, NAN, NAN), NOT_LEARNED),
        ((NAN, 1.0, 1.0), None),
        ((0.97, NAN, 1.0), None),
        ((0.97, 0.0, NAN), None),
    ],
)
def test_outcomes(accuracies: tuple[float, float, float], expected: str | None) -> None:
    assert outcome_of(*accuracies) == expected


def test_what_counts_as_learned_is_a_setting() -> None:
    assert outcome_of(0.9, 1.0, 1.0, learned=0.9) == BY_ATTENTION
    assert outcome_of(0.97, 1.0, 1.0, learned=0.98) == NOT_LEARNED


@pytest.mark.parametrize(("count", "n"), [(0, 10), (3, 10), (10, 10), (7, 40), (1, 1)])
def test_an_interval_is_that_of_clopper_and_pearson(count: int, n: int) -> None:
    """Its ends are where so many, or so few, runs have a chance of 2.5 %."""
    found = share_of(count, n)
    assert (found.value, found.n) == (count / n, n)
    if count:
        assert stats.binom.sf(count - 1, n, found.low) == pytest.approx(0.025)
    else:
        assert found.low == 0
    if count < n:
        assert stats.binom.cdf(count, n, found.high) == pytest.approx(0.025)
    else:
        assert found.high == 1


def test_shares_are_of_the_runs_that_are_known() -> None:
    found = shares_of([BY_ATTENTION, NOT_LEARNED, None, BY_ATTENTION, ANTI_ATTENTION], OUTCOMES)
    assert {name: share.value for name, share in found.items()} == {
        BY_ATTENTION: 0.5,
        ANTI_ATTENTION: 0.25,
        OTHERWISE: 0.0,
        NOT_LEARNED: 0.25,
    }
    assert {share.n for share in found.values()} == {4}
    nobody = shares_of([None, None], ORDERS)
    assert list(nobody) == list(ORDERS)
    assert np.isnan([share[:3] for share in nobody.values()]).all()


def test_fishers_test_is_scipys() -> None:
    for first, second in (
        ((3, 10), (10, 10)),
        ((0, 5), (0, 7)),
        ((4, 9), (2, 8)),
        ((6, 6), (0, 6)),
        ((0, 20), (20, 20)),
    ):
        table = [[learned, n - learned] for learned, n in (first, second)]
        expected = stats.fisher_exact(table, alternative="less")[1]
        assert learns_less_often(first, second) == pytest.approx(expected, rel=1e-9)


def test_fishers_test_counts_the_ways() -> None:
    """3 of 10 and 10 of 10: of all 13 that learned, three or fewer are in the first group."""
    ways = sum(math.comb(10, k) * math.comb(10, 13 - k) for k in range(3, 4))
    assert learns_less_often((3, 10), (10, 10)) == pytest.approx(ways / math.comb(20, 13))
    assert learns_less_often((10, 10), (3, 10)) == pytest.approx(1)
    assert learns_less_often((5, 10), (5, 10)) > 0.5
