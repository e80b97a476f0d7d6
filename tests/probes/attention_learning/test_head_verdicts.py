"""Which heads follow beta: above all draws of both nulls, and enough of them."""

from __future__ import annotations

from math import comb

import numpy as np
import pytest
from mesascope import analyses, models
from mesascope.probes.attention_learning.head_verdicts import (
    beside_nulls,
    head_agreement,
    head_verdicts,
)
from mesascope.probes.attention_learning.names import AGAINST, FOLLOWS, OTHER_TARGETS, SHUFFLED
from mesascope.probes.attention_learning.probe import AttentionLearning
from mesascope.probes.comparing.heads_beside_nulls import ENOUGH, FEWEST

from .made_up_heads import made, over_seeds

MEANS = [[0.4, 0.1, 0.02], [0.1, 0.3, 0.1]]


def test_a_head_is_called_by_its_interval() -> None:
    assert head_verdicts(made(MEANS)) == {
        "L0H0": FOLLOWS, "L0H1": "none", "L0H2": AGAINST, "L1H0": "none", "L1H1": FOLLOWS, "L1H2": "none",
    }  # fmt: skip
    compared = beside_nulls(made(MEANS))
    assert compared is not None
    assert compared.by_chance == pytest.approx(6 / 21)
    assert compared.told.all()


def test_how_many_could_be_chance_is_binomial() -> None:
    for means, could in (([[0.4, 0.1, 0.1], [0.1] * 3], True), (MEANS, False), ([[0.1] * 3] * 2, True)):
        compared = beside_nulls(made(means))
        assert compared is not None
        n = int(compared.above.sum())
        tail = sum(comb(6, k) * (1 / 21) ** k * (20 / 21) ** (6 - k) for k in range(n, 7))
        assert compared.could_be_chance == could == (tail >= 0.05)


@pytest.mark.parametrize("name", [SHUFFLED, OTHER_TARGETS])
def test_either_null_is_enough_to_doubt(name: str) -> None:
    for level, means in ((0.5, [[0.4] * 3] * 2), (0.005, [[0.02] * 3] * 2)):
        nulls = {SHUFFLED: 0.1, OTHER_TARGETS: 0.1} | {name: level}
        assert set(head_verdicts(made(means, nulls=nulls)).values()) == {"none"}


def test_of_too_little_nothing_is_told() -> None:
    assert head_verdicts(made(MEANS, n=FEWEST - 1)) == {}
    assert head_verdicts(made(MEANS, draws=ENOUGH - 1)) == {}
    assert len(head_verdicts(made(MEANS, n=FEWEST, draws=ENOUGH))) == 6
    assert head_verdicts(made(MEANS, nulls={SHUFFLED: 0.1})) == {}
    assert head_verdicts({}) == {}


def test_a_head_without_a_number_has_no_verdict() -> None:
    assert set(head_verdicts(made([[np.nan, 0.4, 0.1], [0.1] * 3]))) == {"L0H1", "L0H2", "L1H0", "L1H1", "L1H2"}


def test_over_seeds_there_are_no_heads() -> None:
    seeds = over_seeds(made(MEANS), made(MEANS, seed=1))
    assert head_agreement(seeds) is None
    assert beside_nulls(seeds) is None
    assert head_verdicts(seeds) == {}


def test_by_chance_few_heads_are_called() -> None:
    """Of heads that agree as their nulls do, each side calls at most one in 21 on average."""
    called = [verdict for seed in range(40) for verdict in head_verdicts(made(0.1, seed=seed)).values()]
    assert len(called) == 240
    for side in (FOLLOWS, AGAINST):
        assert called.count(side) / 240 < 1 / 21


def test_heads_whose_beta_is_the_same_everywhere_follow_nothing() -> None:
    """Their agreement is exactly that by chance, and so is every null: rounding decides nothing."""
    for size in (3, 5, 12, 20):
        heads = models.from_copy_transformer(models.plant_copying(size, size, knows_words=False, n_heads=2))
        report = analyses.run(heads, AttentionLearning(n_sequences=64))
        assert isinstance(report, analyses.Report)
        assert report.heads == {"L0H0": "none", "L0H1": "none"}
