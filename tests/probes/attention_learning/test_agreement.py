"""Agreement by hand, by loops, and with ties of all kinds; its baseline is k / S; nulls deal out what they should."""

from __future__ import annotations

from itertools import permutations
from math import factorial

import numpy as np
import pytest
from mesascope.probes.attention_learning import agreement as module
from mesascope.probes.attention_learning.agreement import (
    DRAWS,
    agreement,
    agreements,
    by_chance,
    joined,
    others,
    shuffles,
)
from mesascope.probes.attention_learning.names import OTHER_TARGETS, SHUFFLED

NAN = np.nan


def by_loop(u: np.ndarray, v: np.ndarray) -> float:
    """One row: v's rank among equals in every possible place, at every source where u is largest."""
    sources = [s for s in range(len(u)) if not np.isnan(u[s]) and not np.isnan(v[s])]
    if len(sources) < 2:
        return NAN
    k = next(k for k in range(1, len(u) + 1) if 20 * k >= len(sources))
    counted = []
    for top in (s for s in sources if u[s] == max(u[r] for r in sources)):
        above = sum(v[s] > v[top] for s in sources)
        equal = sum(v[s] == v[top] for s in sources)
        counted.append(np.mean([above + place < k for place in range(equal)]))
    return float(np.mean(counted))


def papers(u: np.ndarray, v: np.ndarray) -> np.ndarray:
    """The authors' code: fewer than k sources are strictly larger."""
    at = np.take_along_axis(v, u.argmax(axis=-1)[..., None], axis=-1)
    return ((v > at).sum(axis=-1) < np.ceil(0.05 * v.shape[-1])).astype(float)


# -- one row at a time -------------------------------------------------------------------------------------------------

LADDER = np.arange(25.0)  # k = 2
BY_HAND = {
    "the largest": ([0, 3, 1, 2], [5, 9, 6, 7], 1),
    "the second of four, of which one counts": ([0, 3, 1, 2], [9, 7, 5, 6], 0),
    "two share the largest v": ([0, 3, 1, 2], [7, 7, 5, 6], 1 / 2),
    "two share the largest u, one of them has the largest v": ([3, 3, 1, 2], [9, 7, 5, 6], 1 / 2),
    "two share the largest u and the largest v": ([3, 3, 1, 2], [7, 7, 5, 6], 1 / 2),
    "one of two largest u, one of three largest v": ([3, 1, 2, 3], [7, 7, 7, 6], 1 / 6),
    "u is constant": ([1, 1, 1, 1], [9, 7, 5, 6], 1 / 4),
    "v is constant": ([0, 3, 1, 2], [4, 4, 4, 4], 1 / 4),
    "both are constant": ([1, 1, 1, 1], [4, 4, 4, 4], 1 / 4),
    "the largest v is at a source without u": ([0, NAN, 3, 2], [5, 9, 7, 6], 1),
    "the largest u is at a source without v": ([0, 9, 3, 2], [5, NAN, 7, 6], 1),
    "one source is left": ([0, NAN, 3, NAN], [5, 9, NAN, 6], NAN),
    "none is": ([NAN] * 4, [5, 9, 7, 6], NAN),
    "an infinite v": ([0, 3, 1, 2], [5, np.inf, -np.inf, np.inf], 1 / 2),
    "v is minus infinity, beside a hidden source": ([0, 3, NAN, 2], [-np.inf, -np.inf, 1, -np.inf], 1 / 3),
    "the second of 25, of which two count": (LADDER, np.where(LADDER < 1, 30, LADDER), 1),
    "the third of 25": (LADDER, np.where(LADDER < 2, 30, LADDER), 0),
    "one above, three share one place": (LADDER, np.where(LADDER == 0, 30, np.minimum(LADDER, 22)), 1 / 3),
}  # fmt: skip


@pytest.mark.parametrize("what", list(BY_HAND))
def test_by_hand(what: str) -> None:
    u, v, expected = BY_HAND[what]
    u, v = np.array(u, dtype=float), np.array(v, dtype=float)
    assert float(agreement(u, v)) == pytest.approx(expected, nan_ok=True)
    assert by_loop(u, v) == pytest.approx(expected, nan_ok=True)
    assert np.isnan(by_chance(u, v)) == np.isnan(expected)


@pytest.mark.parametrize("levels", [2, 3, 1_000])
@pytest.mark.parametrize("n", [2, 7, 20, 21, 60, 140])
def test_a_loop_over_rows_agrees(n: int, levels: int, rng: np.random.Generator) -> None:
    """Few levels: ties in u, in v and in both."""
    u, v = rng.integers(levels, size=(2, 6, 9, n)).astype(float)
    for array in (u, v):
        array[rng.random(array.shape) < 0.2] = NAN
    found = agreement(u, v)
    np.testing.assert_allclose(
        found, [[by_loop(*row) for row in zip(a, b, strict=True)] for a, b in zip(u, v, strict=True)]
    )


@pytest.mark.parametrize("n", [2, 19, 20, 21, 40, 60, 140, 300])
def test_how_many_count(n: int) -> None:
    """A twentieth, rounded up."""
    v = -np.arange(float(n))
    indicator = [float(agreement(np.where(np.arange(n) == s, 1.0, 0.0), v)) for s in range(n)]
    k = (n + 19) // 20
    assert indicator == [1.0] * k + [0.0] * (n - k)
    assert float(by_chance(v, v)) == k / n


def test_blocks_change_nothing(rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch) -> None:
    u, v = rng.normal(size=(2, 5, 2, 7, 30))
    orders = shuffles(5, 30, 1), others(5, 7, 1)
    rows, whole = agreement(u, v), agreements(u, v, *orders)
    monkeypatch.setattr(module, "_BLOCK", 900)  # two sequences
    np.testing.assert_array_equal(agreement(u, v), rows)
    apart = agreements(u, v, *orders)
    np.testing.assert_array_equal(apart.samples, whole.samples)
    for name, drawn in whole.drawn.items():
        np.testing.assert_array_equal(apart.drawn[name], drawn)


# -- what must not matter, and the baseline ----------------------------------------------------------------------------


def test_neither_the_order_of_sources_nor_the_scale_of_v_matters(rng: np.random.Generator) -> None:
    u, v = rng.integers(5, size=(2, 50, 30)).astype(float)
    order = rng.permutation(30)
    plain = agreement(u, v)
    assert 0 < plain.mean() < 0.5
    np.testing.assert_allclose(agreement(u[:, order], v[:, order]), plain)
    np.testing.assert_allclose(agreement(u, np.exp(3 * v) - 7), plain)
    np.testing.assert_allclose(agreement(u**3, v), plain)


@pytest.mark.parametrize("n", [3, 20, 40, 41])
def test_a_saturated_v_gains_nothing(n: int, rng: np.random.Generator) -> None:
    """Where the authors' strict comparison says that it always agrees."""
    u = rng.normal(size=(30, n))
    saturated = np.full(u.shape, np.log(0.999 / 0.001))
    np.testing.assert_allclose(agreement(u, saturated), by_chance(u, saturated), rtol=1e-12)
    np.testing.assert_allclose(agreement(saturated, u), by_chance(u, u), rtol=1e-12)
    assert papers(u, saturated).tolist() == [1.0] * 30


def test_without_ties_it_is_the_authors_indicator(rng: np.random.Generator) -> None:
    u, v = rng.normal(size=(2, 200, 40))
    v += u
    np.testing.assert_array_equal(agreement(u, v), papers(u, v))


def test_ties_have_the_mean_over_their_orders() -> None:
    """Tiny differences instead of ties, in each of 24 orders."""
    u, v = np.array([2.0, 2.0, 0.0, 1.0, 2.0]), np.array([1.0, 1.0, 1.0, 0.0, 1.0])
    broken = [agreement(u, v - [*(1e-9 * np.array(order)[:3]), 0, 1e-9 * order[3]]) for order in permutations(range(4))]
    assert np.mean(broken) == pytest.approx(float(agreement(u, v)))


def test_the_mean_over_every_permutation_is_k_over_s() -> None:
    u, v = np.array([0.3, 0.3, 0.1, 0.2, 0.1]), np.array([4.0, 4.0, 1.0, 4.0, 0.0])
    every = [float(agreement(u, v[list(order)])) for order in permutations(range(5))]
    assert len(every) == factorial(5)
    assert np.mean(every) == pytest.approx(float(by_chance(u, v)))


# -- nulls -------------------------------------------------------------------------------------------------------------


def dealt_out(v: np.ndarray, seen: np.ndarray, order: np.ndarray) -> np.ndarray:
    """One row, by a loop: each source that counts gets v of the next one that does, along the permutation."""
    dealt = np.full(len(v), NAN)
    for s in np.flatnonzero(seen):
        step = order[s]
        while not seen[step]:
            step = order[step]
        dealt[s] = v[step]
    return dealt


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize("levels", [3, 1_000])
def test_a_shuffled_null_is_the_agreement_with_v_dealt_out(causal: bool, levels: int, rng: np.random.Generator) -> None:
    u, v = rng.integers(levels, size=(2, 3, 2, 9, 9)).astype(float)
    if causal:
        u[..., np.triu(np.ones((9, 9), dtype=bool), 1)] = NAN
        v[1, 0, 4, 2] = NAN
    orders = shuffles(3, 9, seed=4)
    found = agreements(u, v, orders)
    assert list(found.drawn) == [SHUFFLED]
    seen = ~np.isnan(u + v)
    for draw in (0, DRAWS - 1):
        dealt = np.full(v.shape, NAN)
        for i, h, t in np.ndindex(3, 2, 9):
            dealt[i, h, t] = dealt_out(v[i, h, t], seen[i, h, t], orders[draw, i])
            np.testing.assert_array_equal(np.sort(dealt[i, h, t][seen[i, h, t]]), np.sort(v[i, h, t][seen[i, h, t]]))
        expected = np.nanmean(agreement(np.where(seen, u, NAN), dealt), axis=-1)
        np.testing.assert_allclose(found.drawn[SHUFFLED][draw], expected)


def test_what_is_left_of_a_permutation_is_any_with_equal_odds() -> None:
    """Of every permutation of five sources, with two struck out of its cycles: each of the six of the rest 20 times."""
    u, v = np.eye(5)[[0, 2, 3]], np.broadcast_to(np.arange(5.0), (3, 5)).copy()
    v[:, [1, 4]] = NAN
    every = np.array(list(permutations(range(5))))
    rows = module._Rows.of(np.tile(u, (120, 1)), np.tile(v, (120, 1)))
    ours = [rows.shuffled(every, 3).reshape(120, 3)]
    places = np.argmax(ours[0], axis=1)  # which of the three sources gets the largest v
    assert np.bincount(places).tolist() == [40, 40, 40]
    seen = ~np.isnan(v[0])
    left = [tuple(dealt_out(np.arange(5.0), seen, order)[seen]) for order in every]
    assert sorted(left.count(one) for one in set(left)) == [20] * 6


def test_rows_of_a_sequence_share_a_permutation() -> None:
    """One word has the largest v for every target: the null is all or nothing in each sequence, and as wide as that."""
    u = np.broadcast_to(np.eye(40)[7], (50, 3, 40, 40))
    found = agreements(u, u, shuffles(50, 40, 0))
    assert found.samples.tolist() == [[1.0] * 3] * 50
    drawn = found.drawn[SHUFFLED]
    shares = np.unique(np.round(drawn, 12))
    assert drawn.shape == (DRAWS, 50, 3)
    assert len(shares) == 2  # the word is among the two largest, or one of 39 that share the second place
    np.testing.assert_array_equal(drawn, drawn[..., :1].repeat(3, axis=2))
    assert found.nulls[SHUFFLED].shape == (DRAWS, 3)


def test_nulls_of_what_knows_nothing_are_the_agreement_by_chance(rng: np.random.Generator) -> None:
    u, v = rng.normal(size=(2, 200, 40, 40))
    found = agreements(u, v, shuffles(200, 40, 0), others(200, 40, 0))
    assert list(found.nulls) == [SHUFFLED, OTHER_TARGETS]
    for null in found.nulls.values():
        assert null.shape == (DRAWS,)
        assert null.mean() == pytest.approx(0.05, abs=0.002)
    assert found.samples.mean() == pytest.approx(0.05, abs=0.008)


def test_other_targets_have_v_of_another_target(rng: np.random.Generator) -> None:
    """What tells targets apart is lost, what all targets share is kept."""
    own = np.broadcast_to(np.eye(30), (4, 30, 30))
    found = agreements(own, own, shuffles(4, 30, 0), others(4, 30, 0))
    assert found.samples.tolist() == [1.0] * 4
    np.testing.assert_allclose(found.drawn[OTHER_TARGETS], 1 / 29)  # one of 29 zeros has the second place
    shared = np.broadcast_to(np.eye(30)[3], (4, 30, 30))
    assert agreements(shared, shared, shuffles(4, 30, 0), others(4, 30, 0)).drawn[OTHER_TARGETS].min() == 1.0
    u, v = np.round(rng.normal(size=(2, 4, 2, 5, 30)))  # ties at different heights
    orders = others(4, 5, 3)
    drawn = agreements(u, v, shuffles(4, 30, 0), orders).drawn[OTHER_TARGETS]
    for draw in (0, 7):
        moved = np.stack([v[i][:, orders[draw, i]] for i in range(4)])
        np.testing.assert_allclose(drawn[draw], agreement(u, moved).mean(axis=-1))


def test_orders_have_no_fixed_point_or_any(rng: np.random.Generator) -> None:
    for orders in (shuffles(40, 6, 2), others(40, 6, 2)):
        assert orders.shape == (DRAWS, 40, 6)
        assert (np.sort(orders, axis=-1) == np.arange(6)).all()
    moved = others(40, 6, 2)
    assert not (moved == np.arange(6)).any()
    counts = np.array([[(moved[..., t] == other).sum() for other in range(6)] for t in range(6)])
    assert np.abs(counts[~np.eye(6, dtype=bool)] / 800 - 1 / 5).max() < 0.06
    assert (shuffles(40, 6, 2) == np.arange(6)).mean() == pytest.approx(1 / 6, abs=0.02)
    assert (shuffles(40, 6, 2) == shuffles(40, 6, 2)).all()
    assert (shuffles(40, 6, 2) != shuffles(40, 6, 3)).any()


def test_other_targets_need_the_same_sources() -> None:
    u = np.where(np.tri(4, dtype=bool), 1.0, NAN)[None]
    with pytest.raises(ValueError, match="some of the sources only"):
        agreements(u, u, shuffles(1, 4, 0), others(1, 4, 0))


def test_rows_without_an_agreement_are_left_out_of_means(rng: np.random.Generator) -> None:
    u, v = rng.normal(size=(2, 3, 4, 25))
    u[0, 0] = NAN  # a target of one sequence
    u[1] = NAN  # all of another
    orders = shuffles(3, 25, 0), others(3, 4, 0)
    found = agreements(u, v, *orders)
    rows = agreement(u, v)
    np.testing.assert_allclose(found.samples, [rows[0, 1:].mean(), NAN, rows[2].mean()])
    assert np.isnan(found.drawn[SHUFFLED][:, 1]).all()
    for null in found.nulls.values():
        assert np.isfinite(null).all()
    np.testing.assert_allclose(found.nulls[SHUFFLED], found.drawn[SHUFFLED][:, [0, 2]].mean(axis=1))
    same = np.where(np.isnan(u), NAN, np.eye(25)[3])
    always = agreements(same, same, *orders).drawn[OTHER_TARGETS]
    assert (always[:, [0, 2]] == 1).all()


def test_batches_are_joined(rng: np.random.Generator) -> None:
    u, v = rng.normal(size=(2, 6, 2, 5, 25))
    orders = shuffles(6, 25, 0)
    whole = agreements(u, v, orders)
    parts = joined([agreements(u[block], v[block], orders[:, block]) for block in (slice(0, 4), slice(4, 6))])
    np.testing.assert_array_equal(parts.samples, whole.samples)
    np.testing.assert_array_equal(parts.nulls[SHUFFLED], whole.nulls[SHUFFLED])
