"""Measures of effects, sets and lists, beside plain formulas."""

from __future__ import annotations

import numpy as np
import pytest
from mesascope.probes.few_shot_heads.ablating import Ablated
from mesascope.probes.few_shot_heads.effect_measures import effect_measures
from mesascope.probes.few_shot_heads.given_measures import given_measures
from mesascope.probes.few_shot_heads.group_measures import NO_LIST, NO_OTHERS, ablation_measures
from mesascope.probes.few_shot_heads.names import (
    AHEAD,
    ANOTHER_SHUFFLE,
    ANSWER,
    BEYOND,
    DROP,
    DROP_P,
    EFFECT,
    EXCESS,
    EXCESS_P,
    FUNCTION_VECTOR,
    GIVEN,
    GROUP,
    OVERLAP,
    OWN_PROMPT,
    PATCH,
    RANDOM_HEADS,
    RANKED,
    TASK_MEAN,
    TOP_OWN,
    Group,
    Patch,
)
from mesascope.probes.few_shot_heads.patching import Effects
from mesascope.probes.findings import Head

from .made_up import effects_of, made_up

RNG = np.random.default_rng(0)
EFFECTS: dict[Patch, Effects] = {
    TASK_MEAN: effects_of({(1, 0): 0.2}, (2, 3), RNG),
    OWN_PROMPT: effects_of({(1, 0): 0.2, (0, 2): 0.1}, (2, 3), RNG),
}


def test_effects_stand_beside_another_shuffle_and_their_difference() -> None:
    found = effect_measures(EFFECTS, 0.05, seed=0)
    for patch, own in EFFECTS.items():
        effect, excess = (found[name].sel(**{PATCH: patch}) for name in (EFFECT, EXCESS))
        np.testing.assert_allclose(effect.values, own.probability.mean(axis=0))
        np.testing.assert_allclose(effect.nulls[ANOTHER_SHUFFLE], own.another_probability.mean(axis=0)[None])
        np.testing.assert_allclose(excess.values, effect.values - effect.nulls[ANOTHER_SHUFFLE][0])
        assert (excess.interval[0] <= excess.values).all()
        assert (excess.n, excess.replicate) == (12, "task")


def test_only_planted_heads_pass_the_false_discovery_rate() -> None:
    p = effect_measures(EFFECTS, 0.05, seed=0)[EXCESS_P]
    assert [tuple(head) for head in np.argwhere(p.sel(**{PATCH: TASK_MEAN}).values <= 0.01)] == [(1, 0)]
    assert [tuple(head) for head in np.argwhere(p.sel(**{PATCH: OWN_PROMPT}).values <= 0.01)] == [(0, 2), (1, 0)]
    few = {patch: Effects(*(values[:4] for values in vars(one).values())) for patch, one in EFFECTS.items()}
    assert "4 tasks chose; at least" in effect_measures(few, 0.05, seed=0)[EXCESS_P].sel(**{PATCH: TASK_MEAN}).message


SETS: dict[Group, tuple[Head, ...]] = {
    FUNCTION_VECTOR: ((0, 0), (1, 1)),
    ANSWER: (),
    TOP_OWN: ((1, 0),),
    GIVEN: ((1, 0),),
}


def ablated_sets() -> dict[Group, Ablated]:
    rng = np.random.default_rng(1)
    random = (((0, 1), (1, 0)),) * 3 + (((0, 1),),)
    both = Ablated(SETS[FUNCTION_VECTOR], random, *rng.random((2, 5)), *rng.random((2, 4, 5)))
    alone = Ablated(SETS[GIVEN], (), *rng.random((2, 5)), *np.empty((2, 0, 5)))
    return {FUNCTION_VECTOR: both, TOP_OWN: alone, GIVEN: alone}


def test_costs_stand_beside_random_sets_task_by_task() -> None:
    sets = ablated_sets()
    found = ablation_measures(sets, SETS, seed=0)
    one = sets[FUNCTION_VECTOR]
    drop, beyond, p, ahead = (found[name].sel(**{GROUP: FUNCTION_VECTOR}) for name in (DROP, BEYOND, DROP_P, AHEAD))
    assert drop.estimate == pytest.approx(one.accuracy.mean())
    np.testing.assert_allclose(drop.nulls[RANDOM_HEADS], one.random_accuracy.mean(axis=1))
    assert "random sets are smaller" in drop.message
    assert beyond.estimate == pytest.approx((one.accuracy - one.random_accuracy.mean(axis=0)).mean())
    assert p.estimate == (1 + np.sum(one.random_accuracy.mean(axis=1) >= one.accuracy.mean())) / 5
    assert ahead.estimate == pytest.approx((one.accuracy - sets[GIVEN].accuracy).mean())


def test_sets_without_heads_or_without_others_say_why() -> None:
    found = ablation_measures(ablated_sets(), SETS, seed=0)
    assert found[DROP].sel(**{GROUP: ANSWER}).message == "no head is called answer"
    assert found[DROP].sel(**{GROUP: GIVEN}).no_nulls == NO_OTHERS
    assert found[BEYOND].sel(**{GROUP: GIVEN}).message == NO_OTHERS
    assert found[AHEAD].sel(**{GROUP: GIVEN}).message == "these are the given heads"
    without = ablation_measures({}, {}, seed=0)
    assert without[DROP].sel(**{GROUP: GIVEN}).message == NO_LIST
    assert not without[DROP].has_number


def test_the_list_is_compared_by_counts_and_ranks() -> None:
    sets: dict[Group, tuple[Head, ...]] = {
        FUNCTION_VECTOR: ((1, 0),),
        ANSWER: ((0, 2), (0, 1)),
        GIVEN: ((0, 2), (1, 0)),
    }
    found = given_measures(EFFECTS, sets, (2, 3), seed=0)
    assert found[OVERLAP].sel(**{GROUP: FUNCTION_VECTOR}).estimate == 1
    assert found[OVERLAP].sel(**{GROUP: ANSWER}).estimate == 0.5
    assert not found[OVERLAP].sel(**{GROUP: TOP_OWN}).has_number
    nulls = found[OVERLAP].sel(**{GROUP: FUNCTION_VECTOR}).nulls[RANDOM_HEADS]
    assert nulls.mean() == pytest.approx(1 / 3, abs=0.1)
    assert found[RANKED].sel(**{PATCH: OWN_PROMPT}).estimate == 1
    assert found[RANKED].sel(**{PATCH: OWN_PROMPT}).nulls[RANDOM_HEADS].mean() == pytest.approx(0.5, abs=0.15)


def test_a_list_of_all_heads_has_no_rank() -> None:
    sets: dict[Group, tuple[Head, ...]] = {GIVEN: tuple((layer, head) for layer in range(2) for head in range(3))}
    ranked = given_measures(EFFECTS, sets, (2, 3), seed=0)[RANKED].sel(**{PATCH: TASK_MEAN})
    assert "every head is given" in ranked.message


def test_numbers_of_a_whole_report_fit_together() -> None:
    measures = made_up(given=((1, 0),))
    assert measures["group_size"].sel(**{GROUP: FUNCTION_VECTOR}).message.startswith("L1H0")
    assert measures[OVERLAP].sel(**{GROUP: FUNCTION_VECTOR}).estimate == 1
    assert measures["group_excess"].sel(**{PATCH: TASK_MEAN, GROUP: FUNCTION_VECTOR}).estimate == pytest.approx(
        0.3, abs=0.02
    )
