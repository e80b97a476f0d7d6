"""Verdicts as a pure function: every condition alone can take the name away, and content comes before position."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mesascope.probes import Measure
from mesascope.probes.induction_heads.evidence import Evidence, Thresholds
from mesascope.probes.induction_heads.names import BY_POSITION, EVEN, PERMUTED, SHUFFLED_IDS, Verdict
from mesascope.probes.induction_heads.verdicts import (
    copying_sign,
    head_verdicts,
    heads_called,
    labels,
    near_a_threshold,
    near_measure,
    strength,
    strength_measure,
    strength_words,
)
from mesascope.probes.measure import missing

T = Thresholds()
ONE = (1, 1)


def evidence(**changed: Any) -> Evidence:
    """A head that is an induction head by every condition; numbers stand for all cells of an array."""
    base: dict[str, Any] = {"excess": 0.8, "excess_low": [0.7, 0.8, 0.9], "p_adjusted": 0.001}
    base |= {"excess_floor": [0.05, 0.04, 0.03], "text_floor": 0.0}
    base |= dict.fromkeys(("text_excess", "text_low", "text_p_adjusted"), np.nan)
    base |= {"copying": 0.9, "attribution": 3.0, "attribution_floor": 0.1}
    base |= {"duplicate_by_period": [0.0, 0.0, 0.0], "duplicate_floor": 0.05, "positional": [0.0, 0.0, 0.0, 0.0]}
    base |= changed
    arrays = {
        name: np.array(value, dtype=float)
        if name == "excess_floor"
        else value
        if name.endswith("floor")
        else np.array(value, dtype=float).reshape(*np.shape(value), *ONE)
        for name, value in base.items()
    }
    return Evidence(**arrays)


def label(**changed: Any) -> str:
    return str(labels(evidence(**changed), T)[0, 0])


def test_an_induction_head_meets_every_condition() -> None:
    assert label() == "induction"


@pytest.mark.parametrize(
    "failing",
    [
        {"excess_low": [0.7, 0.02, 0.9]},  # a peak that does not move with the period
        {"excess_low": [0.7, 0.03, 0.9]},
        {"p_adjusted": 0.06},
        {"excess_floor": [0.05, 0.81, 0.03]},
        {"copying": 0.1, "attribution": 0.05},
        {"copying": np.nan, "attribution": np.nan},
    ],
)
def test_each_condition_alone_takes_the_name_away(failing: dict[str, Any]) -> None:
    assert label(**failing) == "none"


ON_TEXT: dict[str, Any] = {"text_excess": 0.6, "text_low": 0.5, "text_p_adjusted": 0.01, "text_floor": 0.02}
NOWHERE: dict[str, Any] = {"excess": 0.01, "excess_low": [0.0, 0.0, 0.0], "p_adjusted": 0.5}


def test_a_text_can_name_a_head_alone() -> None:
    assert label(**NOWHERE, **ON_TEXT) == "induction"
    assert label(**NOWHERE, **ON_TEXT, copying=-0.9) == "anti-induction"


@pytest.mark.parametrize(
    "failing", [{"text_low": 0.02}, {"text_floor": 0.55}, {"text_p_adjusted": 0.06}, {"text_p_adjusted": np.nan}]
)
def test_each_condition_on_the_text_alone_takes_that_away(failing: dict[str, Any]) -> None:
    assert label(**NOWHERE, **(ON_TEXT | failing)) == "none"
    assert label(**(ON_TEXT | failing)) == "induction"  # random tokens say so without it


def test_strength_is_the_excess_where_the_head_matches() -> None:
    assert strength(evidence(), T) == 0.8
    assert strength(evidence(**ON_TEXT), T) == 0.8
    assert strength(evidence(**NOWHERE, **ON_TEXT), T) == 0.6
    assert np.isnan(strength(evidence(**NOWHERE), T))


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([0.29], "weak"),
        ([0.3], "moderate"),
        ([0.69], "moderate"),
        ([0.7], "strong"),
        ([0.1, 0.9, 0.4], "weak to strong"),
    ],
)
def test_strength_in_words(values: list[float], words: str) -> None:
    assert strength_words(np.array(values), T) == words
    assert strength_words(np.array(values), replace(T, weak_below=0.0, strong_from=0.0)) == "strong"


@pytest.mark.parametrize("place", [0, 1, 3])
def test_a_weak_match_gives_way_to_a_position_that_gets_more(place: int) -> None:
    """Not to the first token, where a head rests."""
    weak: dict[str, Any] = {"excess": 0.2, "excess_low": [0.1, 0.2, 0.15]}
    positional = [0.0, 0.0, 0.9, 0.0]
    assert label(**weak, positional=positional) == "induction"
    positional[place] = 0.95
    assert label(**weak, positional=positional) == BY_POSITION[place]
    assert label(positional=positional) == "induction"  # strong
    assert label(**(weak | {"excess": 0.31}), positional=positional) == "induction"
    positional[place] = 0.29
    assert label(**weak, positional=positional) == "induction"


def test_copying_by_weights_and_where_that_is_unclear_by_effect() -> None:
    assert label(copying=-0.9) == "anti-induction"
    assert label(copying=-0.9, attribution=3.0) == "anti-induction"  # clear weights are not overruled
    assert label(copying=0.05, attribution=3.0) == "induction"
    assert label(copying=0.05, attribution=-3.0) == "anti-induction"
    assert label(copying=np.nan, attribution=3.0) == "induction"
    assert copying_sign(evidence(copying=0.2), T)[0, 0] == 1
    assert copying_sign(evidence(copying=-0.2), T)[0, 0] == -1


@pytest.mark.parametrize("name", BY_POSITION)
def test_positions(name: str) -> None:
    none: dict[str, Any] = {"excess": 0.0, "excess_low": [0, 0, 0], "p_adjusted": 1.0}
    scores = [0.1, 0.1, 0.1, 0.1]
    assert label(**none, positional=scores) == "none"
    scores[BY_POSITION.index(name)] = 0.31
    assert label(**none, positional=scores) == name
    assert label(positional=scores) == "induction"  # what it rests on does not take its name
    assert label(**none, positional=scores, duplicate_by_period=[0.4, 0.5, 0.6]) == "duplicate-token"


def test_the_larger_of_two_positions_names_the_head() -> None:
    none: dict[str, Any] = {"excess_low": [0, 0, 0]}
    assert label(**none, positional=[0.35, 0.5, 0.4, 0.3]) == "current-token"


def test_duplicates_at_every_period_and_above_the_null() -> None:
    none: dict[str, Any] = {"excess_low": [0, 0, 0]}
    assert label(**none, duplicate_by_period=[0.4, 0.2, 0.6]) == "none"
    assert label(**none, duplicate_by_period=[0.4, 0.4, 0.4], duplicate_floor=0.5) == "none"


@pytest.mark.parametrize(
    "near",
    [
        {"excess_low": [0.0305, 0.8, 0.9], "excess_floor": [0, 0, 0]},
        {"excess_low": [0.0295, 0.8, 0.9], "excess_floor": [0, 0, 0]},
        {"excess_low": [0.0505, 0.8, 0.9]},
        {"p_adjusted": 0.0495},
        {**NOWHERE, **ON_TEXT, "text_low": 0.0305},
        {**NOWHERE, **ON_TEXT, "text_low": 0.0505, "text_floor": 0.05},
        {"excess": 0.2995, "positional": [0.9, 0, 0, 0]},
        {"copying": 0.1995, "attribution": 0.0},
        {"copying": 0.1, "attribution": 0.1005},
        {"excess_low": [0, 0, 0], "positional": [0.3005, 0, 0, 0]},
        {"excess_low": [0, 0, 0], "duplicate_by_period": [0.2995, 1, 1]},
    ],
)
def test_heads_near_a_threshold_are_named(near: dict[str, Any]) -> None:
    assert near_a_threshold(evidence(**near), T)[0, 0]
    assert not near_a_threshold(evidence(**near), replace(T, tolerance=1e-5))[0, 0]


def test_a_threshold_that_decides_nothing_is_not_near() -> None:
    assert not near_a_threshold(evidence(), T)[0, 0]
    assert not near_a_threshold(evidence(positional=[0.3, 0, 0, 0]), T)[0, 0]  # an induction head either way
    assert not near_a_threshold(evidence(copying=0.2, attribution=3.0), T)[0, 0]  # its effect says the same


def measures(n_layers: int = 2, n_heads: int = 3, **values: float) -> dict[str, Measure]:
    shape = (n_layers, n_heads)
    names = ("excess", "p_adjusted", "ov_copying_score", "direct_logit_attribution")
    positions = ("previous_token_score", "current_token_score", "first_token_score", "fixed_offset_score")

    def made(name: str, axes: tuple[str, ...], shape: tuple[int, ...]) -> Measure:
        array = np.full(shape, values.get(name, 0.0))
        nulls = {PERMUTED: np.full((4, *shape), 0.01), EVEN: np.full((1, *shape), 0.1)}
        return Measure(array, "1", (array, array), "sequence", 48, axes, nulls=nulls)

    found = {name: made(name, ("layer", "head"), shape) for name in (*names, *positions)}
    periods = ("excess_by_period", "duplicate_token_excess_by_period")
    return found | {name: made(name, ("period", "layer", "head"), (3, *shape)) for name in periods}


def test_verdicts_are_read_off_measures() -> None:
    found = measures(excess=0.8, excess_by_period=0.8, p_adjusted=0.01, ov_copying_score=0.9)
    assert head_verdicts(found, T) == dict.fromkeys(np.ndindex(2, 3), Verdict.INDUCTION)
    found["ov_copying_score"] = missing("score", "not applicable", "no unembedding")
    found["direct_logit_attribution"] = missing("logit", "not applicable", "no unembedding")
    assert set(head_verdicts(found, T).values()) == {"none"}
    # positions count beyond what even attention gives: 0.1 here
    assert set(head_verdicts(measures(previous_token_score=0.39), T).values()) == {"none"}
    assert set(head_verdicts(measures(previous_token_score=0.41), T).values()) == {"previous-token"}
    assert set(head_verdicts(found, replace(T, positional=0.0)).values()) <= set(Verdict)


def test_each_score_has_the_floor_of_its_own_null() -> None:
    """By period, and with shuffled ids on the text."""
    found = measures()
    by_period = found["excess_by_period"]
    by_period.nulls[PERMUTED][:] = np.array([0.1, 0.2, 0.3])[:, None, None]
    text = replace(found["excess"], nulls={SHUFFLED_IDS: np.full((4, 2, 3), 0.4), PERMUTED: np.full((4, 2, 3), 0.9)})
    seen = Evidence.of(found | {"text_matching_excess": text})
    assert seen is not None
    assert seen.excess_floor == pytest.approx([0.1, 0.2, 0.3])
    assert seen.text_floor == pytest.approx(0.4)
    without = Evidence.of(found)
    assert without is not None
    assert np.isnan(without.text_low).all()


def test_measures_of_several_checkpoints_have_no_verdicts() -> None:
    found = measures()
    found["excess"] = missing("probability", "not applicable", "heads have no order that seeds share")
    assert head_verdicts(found, T) == {}
    assert head_verdicts({}, T) == {}


def test_near_heads_are_named_in_words() -> None:
    found = measures(excess=0.8, excess_by_period=0.8, p_adjusted=0.01, ov_copying_score=0.9)
    assert near_measure(found, T).message == "no verdict changes when a threshold moves by 0.001"
    found["excess_by_period"].interval[0][:, 1, 2] = 0.0301
    near = near_measure(found, T)
    assert near.message == "the verdict of L1H2 changes when a threshold moves by 0.001"
    assert near.values.sum() == near.values[1, 2] == 1


def test_strength_is_a_measure_of_the_heads_that_are_called() -> None:
    found = measures(excess=0.8, excess_by_period=0.8, p_adjusted=0.01, ov_copying_score=0.9)
    found["ov_copying_score"].values[0] = 0.0  # and so the direct effect, which is 0, too
    measure = strength_measure(found, T)
    assert np.isnan(measure.values[0]).all()
    assert (measure.values[1] == 0.8).all()
    assert (measure.interval[0][1] == 0.8).all()
    assert (measure.axes, measure.replicate, measure.n) == (("layer", "head"), "sequence", 48)
    assert strength_measure(measures(), T).status == "undefined"


def test_strength_on_the_text_is_said() -> None:
    found = measures(excess=0.01, excess_by_period=0.0, p_adjusted=1.0, ov_copying_score=0.9)
    on_text = {"text_matching_excess": changed(found["excess"], 0.6), "text_p_adjusted": found["previous_token_score"]}
    measure = strength_measure(found | on_text, T)
    assert (measure.values == 0.6).all()
    assert "of L0H0, L0H1, L0H2, L1H0, L1H1 and L1H2 the excess on the text, in 48 sequences" in measure.message
    on_both = measures(excess=0.8, excess_by_period=0.8, p_adjusted=0.01, ov_copying_score=0.9)
    assert "on the text" not in strength_measure(on_both | on_text, T).message


def changed(measure: Measure, value: float) -> Measure:
    values = np.full(measure.values.shape, value)
    return replace(measure, values=values, interval=(values, values))


def test_heads_of_a_verdict() -> None:
    verdicts = {(0, 0): Verdict.NONE, (10, 11): Verdict.INDUCTION, (2, 3): Verdict.INDUCTION}
    assert heads_called(verdicts, Verdict.INDUCTION) == [(10, 11), (2, 3)]
    assert heads_called({}, Verdict.INDUCTION) == []
