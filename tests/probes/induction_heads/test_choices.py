"""Which heads are ablated, and how many sequences it takes: pure functions of settings and verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import pytest
from mesascope.data import RepeatedTokens, UsageError
from mesascope.models import load
from mesascope.probes import Measure
from mesascope.probes.findings import Head
from mesascope.probes.induction_heads.ablation import Halves
from mesascope.probes.induction_heads.access import Access
from mesascope.probes.induction_heads.choices import choose, heads_to_ablate, number_of_sequences
from mesascope.probes.induction_heads.experiment import Experiment, Passes
from mesascope.probes.induction_heads.inputs import period_inputs
from mesascope.probes.induction_heads.names import Verdict
from mesascope.probes.induction_heads.observations import observe
from mesascope.probes.induction_heads.score_measures import Comparison, head_measures
from mesascope.probes.measure import without_interval

VERDICTS = dict(zip(np.ndindex(2, 4), Verdict, strict=True))
CALLED = [(0, 0), (0, 1), (0, 2), (0, 3)]  # by content, and previous-token


def test_heads_are_ablated_alone_as_asked() -> None:
    assert heads_to_ablate("all", VERDICTS) == sorted(VERDICTS)
    assert heads_to_ablate("called", VERDICTS) == CALLED
    assert heads_to_ablate("auto", VERDICTS) == sorted(VERDICTS)
    many = dict.fromkeys(np.ndindex(13, 5), Verdict.NONE) | {(3, 1): Verdict.INDUCTION, (2, 4): Verdict.FIRST_TOKEN}
    assert len(many) == 65
    assert heads_to_ablate("auto", many) == [(3, 1)]
    assert heads_to_ablate("called", {(0, 0): Verdict.NONE}) == []


def test_groups_are_chosen_on_the_even_and_on_the_odd_sequences() -> None:
    """A judge that calls the first head where it sees the even sequences, the second on the odd, and none on all."""
    subject = load("induction-2layer")
    periods = period_inputs((RepeatedTokens(6, subject.shape.d_vocab, bos=subject.bos),), 8, seed=0)
    observations = observe(Experiment(Passes(subject, 16), Access.to(subject), periods, seed=0))
    comparison = Comparison(periods, [], 0.05, seed=0)
    halves = {start: head_measures(observations.subset(slice(start, None, 2)), comparison) for start in (0, 1)}
    score = "current_token_score"
    assert not np.array_equal(halves[0][score].values, halves[1][score].values)

    def judge(measures: Mapping[str, Measure]) -> dict[Head, Verdict]:
        seen = [start for start in (0, 1) if np.array_equal(measures[score].values, halves[start][score].values)]
        assert measures["other"] is halves[0]["excess"]  # what is not of heads stays
        return {(layer, 0): Verdict.INDUCTION if [layer] == seen else Verdict.NONE for layer in (0, 1)}

    whole = head_measures(observations, comparison) | {"other": halves[0]["excess"]}
    choice = choose("called", judge, whole, observations, comparison)
    nobody = Halves((), ())
    called = {"induction": Halves(even=((0, 0),), odd=((1, 0),)), "previous-token": nobody}
    assert choice.groups == {**called, "strongest unnamed": nobody}
    assert choice.alone == []

    gain = without_interval(np.array(2.0), "nat", message="made up", no_nulls="made up")
    in_order = whole | {"order_gain": replace(gain, interval=(np.array(1.9), np.array(2.1)))}
    unnamed = choose("called", judge, in_order, observations, comparison).groups["strongest unnamed"]
    for half, of_half in ((unnamed.even, halves[0]), (unnamed.odd, halves[1])):
        inside = [of_half["excess"].values[head] for head in half]
        outside = [value for head, value in np.ndenumerate(of_half["excess"].values) if head not in half]
        assert len(inside) == 4
        assert min(inside) >= max(outside)
    named = choose("called", lambda _: {(0, 0): Verdict.INDUCTION}, in_order, observations, comparison)
    assert named.groups["strongest unnamed"] == nobody


@pytest.mark.parametrize(("heads", "periods"), [(8, 3), (144, 3), (1024, 1)])
def test_enough_sequences_for_half_of_them(heads: int, periods: int) -> None:
    n = number_of_sequences(None, heads, periods, 0.05)
    assert n >= 16
    assert n // 2 * periods >= np.log2(10 * heads / 0.05) - 1
    assert number_of_sequences(40, heads, periods, 0.05) == 40


def test_too_few_sequences_are_refused_with_how_many_it_takes() -> None:
    words = "n_sequences = 2: too few for 8 heads to pass a false discovery rate of 0.05; expected at least 4"
    with pytest.raises(UsageError, match=words):
        number_of_sequences(2, 8, 3, 0.05)
    assert number_of_sequences(4, 8, 3, 0.05) == 4
