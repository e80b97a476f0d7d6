"""Onsets: a bracket for each seed, the median over seeds, and which of two comes first."""

from __future__ import annotations

import math

import numpy as np
import pytest
from mesascope.probes.statistics.medians import Ends
from mesascope.probes.statistics.onset import Onset, clears, onset_of, order_of_onsets, over_seeds
from scipy import stats

NAN, INF = math.nan, math.inf
STEPS = np.array([0, 100, 300, 1000, 3000])


def bracket(*cleared: float) -> tuple[int | None, int | None, int] | None:
    found = onset_of(STEPS, np.array(cleared, dtype=float))
    return found and (found.after, found.by, found.later)


@pytest.mark.parametrize(
    ("cleared", "expected"),
    [
        ((0, 0, 1, 1, 1), (100, 300, 2)),
        ((0, 1, 0, 1, 1), (300, 1000, 1)),  # once is not for ever
        ((0, 1, 1, 1, 0), (3000, None, 0)),  # and neither is for a long time
        ((0, 0, 0, 0, 0), (3000, None, 0)),
        ((1, 1, 1, 1, 1), (None, 0, 4)),
        ((0, 0, 0, 0, 1), (1000, 3000, 0)),
        ((0, NAN, NAN, 1, 1), (0, 1000, 1)),  # steps that were not measured widen the bracket
        ((0, 0, 1, NAN, 1), (100, 300, 1)),  # or say nothing
        ((0, 0, 0, NAN, NAN), (300, None, 0)),  # censored where it was last looked at
        ((NAN, NAN, 1, 1, 1), (None, 300, 2)),
        ((NAN, 0, NAN, 1, NAN), (100, 1000, 0)),
        ((NAN,) * 5, None),
    ],
)
def test_brackets(cleared: tuple[float, ...], expected: tuple[int | None, int | None, int] | None) -> None:
    assert bracket(*cleared) == expected


def test_brackets_agree_with_looking_at_every_step(rng: np.random.Generator) -> None:
    """By the definition: the first known step from which on every known step clears."""
    for _ in range(300):
        cleared = rng.choice([0.0, 1.0, NAN], size=5)
        known = [(step, one) for step, one in zip(STEPS.tolist(), cleared, strict=True) if not np.isnan(one)]
        begun = [step for i, (step, _) in enumerate(known) if all(one for _, one in known[i:])]
        before = [step for step, _ in known if not begun or step < begun[0]]
        expected = (before[-1] if before else None, begun[0] if begun else None, max(len(begun) - 1, 0))
        assert bracket(*cleared) == (expected if known else None)


def test_what_clears() -> None:
    low, high = np.array([0.1, 0.3, 0.3, NAN, 0.5]), np.array([0.4, 0.5, 0.5, 0.9, 0.6])
    null = np.array([0.2, 0.2, 0.3, 0.2, NAN])
    np.testing.assert_array_equal(clears(low, high, null, above=True), [0, 1, 0, NAN, NAN])  # at the null is not above
    np.testing.assert_array_equal(clears(-high, -low, -null, above=False), [0, 1, 0, NAN, NAN])
    np.testing.assert_array_equal(clears(low, high, null, above=False), [0, 0, 0, NAN, NAN])


def test_sentences() -> None:
    assert Onset(1300, 1600, 3).sentence == "begins between steps 1300 and 1600"
    assert Onset(1300, 1600).sentence == "begins between steps 1300 and 1600, seen at the last step only"
    assert Onset(None, 0, 5).sentence == "has begun at step 0, the first that was measured"
    assert Onset(4000, None).sentence == "has not begun by step 4000"


def test_planted_onsets_are_found_and_none_in_flat_curves(rng: np.random.Generator) -> None:
    """Means of 100 samples with their intervals beside a null's largest of 20."""
    steps = np.arange(12)
    begun, flat = [], 0
    for _ in range(200):
        for planted in (0.0, 1.0):
            level = planted * np.clip((steps - 6) / 2, 0, 1)
            samples = level + rng.normal(size=(100, 12))
            mean, half = samples.mean(axis=0), 1.96 * samples.std(axis=0) / 10
            null = rng.normal(scale=0.1, size=(20, 12)).max(axis=0)
            found = onset_of(steps, clears(mean - half, mean + half, null, above=True))
            assert found is not None
            if planted:
                begun.append((found.after, found.by))
            else:
                flat += found.by is not None
    assert all(after in (6, 7) and by == after + 1 for after, by in begun)  # 5: level 0, 7: .5, 8: 1
    assert flat == 0


# -- over seeds --------------------------------------------------------------------------------------------------------


def test_one_seed_and_few_have_no_interval() -> None:
    one = over_seeds([Onset(100, 300, 2)])
    assert (one.seeds, one.begun, one.at_once, one.interval) == (1, 1, 0, None)
    assert one.median == one.range == Ends(100, 300)
    few = over_seeds([Onset(None, 0, 4), Onset(0, 100, 3), Onset(3000, None)])
    assert (few.seeds, few.begun, few.at_once, few.interval) == (3, 2, 1, None)
    assert few.median == Ends(0, 100)
    assert few.range == Ends(-INF, INF)


def test_the_interval_over_seeds_is_that_of_order_statistics() -> None:
    """Of nine seeds the second and the eighth; the last two have not begun."""
    onsets = [Onset(at, at + 10, 1) for at in (70, 10, 50, 30, 20, 60, 40)]
    found = over_seeds([*onsets, Onset(100, None), Onset(100, None)])
    assert found.median == Ends(50, 60)
    assert found.interval == Ends(20, INF)
    assert found.begun == 7
    all_begun = over_seeds([*onsets, Onset(80, 90, 1), Onset(0, 5, 1)])
    assert all_begun.interval == Ends(10, 80)


def test_the_interval_covers_the_median_onset(rng: np.random.Generator) -> None:
    """Onsets drawn at random and seen on a grid: the interval holds the true median at least as often as it says."""
    grid, true = np.arange(0, 2000, 25), 100 * math.log(2)
    covered = 0
    for _ in range(500):
        drawn = rng.exponential(100, size=10)
        interval = over_seeds([onset for at in drawn if (onset := onset_of(grid, (grid >= at) + 0.0))]).interval
        assert interval is not None
        covered += interval.low <= true <= interval.high
    assert covered / 500 >= 1 - 2 * stats.binom.cdf(1, 10, 0.5) - 0.02


# -- two measures ------------------------------------------------------------------------------------------------------


def test_which_comes_first() -> None:
    early, late, overlapping = Onset(0, 100, 3), Onset(100, 300, 2), Onset(0, 300, 2)
    never, at_once = Onset(3000, None), Onset(None, 0, 4)
    for one, other, expected in (
        (early, late, "first"),  # brackets that meet: one is not after 100, the other is
        (late, early, "second"),
        (early, overlapping, "open"),
        (early, early, "open"),
        (late, never, "first"),
        (never, never, "open"),
        (at_once, early, "first"),
        (at_once, at_once, "open"),
    ):
        order = order_of_onsets({"seed 0": (one, other)})
        assert getattr(order, expected) == ("seed 0",)
        assert order.seeds == 1
        assert math.isnan(order.p)


def test_the_order_is_tested_over_seeds() -> None:
    pair = (Onset(0, 100, 3), Onset(300, 1000, 1))
    five = order_of_onsets({f"seed {seed}": pair for seed in range(5)})
    assert five.first == tuple(f"seed {seed}" for seed in range(5))
    assert five.p == pytest.approx(2 / 2**5)
    assert (five.lead, five.lead_interval) == (Ends(200, 1000), None)
    mixed = order_of_onsets(dict(enumerate_named([pair] * 6 + [pair[::-1]] * 2 + [(pair[0], pair[0])])))
    assert (len(mixed.first), len(mixed.second), len(mixed.open)) == (6, 2, 1)
    assert mixed.p == pytest.approx(2 * sum(math.comb(8, k) for k in range(3)) / 2**8)
    assert mixed.lead_interval == Ends(-1000, 1000)
    tied = order_of_onsets({"seed 0": (pair[0], pair[0]), "seed 1": (pair[1], pair[1])})
    assert math.isnan(tied.p)


def enumerate_named(pairs: list[tuple[Onset, Onset]]) -> list[tuple[str, tuple[Onset, Onset]]]:
    return [(f"seed {seed}", (one, other)) for seed, (one, other) in enumerate(pairs)]


def test_seeds_are_told_apart_not_pooled() -> None:
    """In each seed the first comes first, though over all seeds its onsets are as late as the second's."""
    pairs = [(Onset(at, at + 10, 1), Onset(at + 10, at + 20, 1)) for at in range(0, 600, 100)]
    order = order_of_onsets(dict(enumerate_named(pairs)))
    assert order.p == pytest.approx(2 / 2**6)
    assert order.lead == Ends(0, 20)
