"""The claim: which sentence appears when, and when it must not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from mesascope.probes.few_shot_heads import limits as of_limits
from mesascope.probes.few_shot_heads.claim import few_shot_claim
from mesascope.probes.few_shot_heads.verdicts import head_verdicts, learns
from mesascope.probes.measure import Claim, Measure

from .made_up import LEVEL, N, made_up, over_seeds


def claim_of(measures: Mapping[str, Measure]) -> Claim:
    return few_shot_claim(measures, (), LEVEL)


def text_of(measures: Mapping[str, Measure]) -> str:
    claim = claim_of(measures)
    return " ".join([claim.badge, claim.found, claim.rival, claim.evidence, claim.methods, *claim.limits])


SETTINGS: dict[str, dict[str, Any]] = {
    "both": {},
    "task alone": {"own": 0.0},
    "answer alone": {"task": 0.0},
    "neither": {"task": 0.0, "own": 0.0, "cost": 0.0},
    "not learned": {"learned": False},
    "not needed": {"cost": 0.0},
    "given": {"given": ((1, 2), (0, 1))},
    "nothing given in a report": {"given": ()},
    "one rule": {"rules": 1},
    "few rules": {"rules": 3},
    "no random sets": {"n_random": 0},
    "few random sets": {"n_random": 4},
}


@pytest.mark.parametrize("kind", SETTINGS)
def test_no_sentence_has_a_hole(kind: str) -> None:
    for measures in (made_up(**SETTINGS[kind]), over_seeds(**SETTINGS[kind])):
        text = text_of(measures)
        for hole in ("nan", "{", "None", "less than 0.000001", "  ", "(0)", ".."):
            assert hole not in text, (hole, text)


def test_heads_are_counted_and_named() -> None:
    claim = claim_of(made_up())
    assert claim.badge == "1 function-vector head, 1 answer head"
    assert "1 of 8 heads is a function-vector head: L1H0." in claim.found
    assert "1 of 8 heads is an answer head: L1H2." in claim.found
    assert claim_of(made_up(own=0.0)).badge == "1 function-vector head, no answer heads"
    assert "No head is a function-vector head." in claim_of(made_up(task=0.0)).found
    assert claim_of(made_up(**SETTINGS["neither"])).badge == "Few-shot learning by no single head"


def test_without_few_shot_learning_nothing_is_said_of_heads() -> None:
    measures = made_up(learned=False)
    claim = claim_of(measures)
    assert not learns(measures)
    assert claim.found.startswith("No few-shot learning of these tasks")
    assert "L1H0" not in " ".join([claim.found, claim.rival])
    assert claim.rival == "No heads were compared."
    assert head_verdicts(measures, LEVEL) == {}
    assert of_limits.ONE_BY_ONE not in claim.limits


def test_what_shuffled_labels_do_as_well_is_no_few_shot_learning() -> None:
    """Demonstrations may say which labels there are, and nothing of the rule."""
    measures = made_up(by_labels=False)
    assert not learns(measures)
    assert "the labels of the demonstrations do not clearly raise the accuracy" in claim_of(measures).found
    assert "demonstrations do not clearly raise the accuracy (" not in claim_of(made_up()).found


def test_seeds_have_no_heads() -> None:
    measures = over_seeds()
    claim = claim_of(measures)
    assert claim.badge == "Few-shot learning; heads are not compared"
    assert "Heads of different seeds do not correspond" in claim.found
    assert "L1H" not in claim.found
    assert of_limits.BY_SEED.format("seed") in claim.limits
    assert claim.evidence == "t-interval over 5 seeds."
    assert head_verdicts(measures, LEVEL) == {}
    assert "mean-ablating the answer heads lowers" in claim.found  # sets are compared over seeds


def test_tasks_that_chose_and_tasks_that_judged_are_counted() -> None:
    assert f"Heads were chosen on {N // 2} of them and ablated on the other {N // 2}." in claim_of(made_up()).evidence


@pytest.mark.parametrize(
    ("sentence", "where", "where_not"),
    [
        (of_limits.ONE_RULE, "one rule", "both"),
        (of_limits.FEW_RULES.format(3), "few rules", "one rule"),
        (of_limits.NOT_ABOVE_RANDOM.format("answer heads"), "not needed", "both"),
        (of_limits.MAY_COPY, "answer alone", "task alone"),
        (of_limits.FEW_SETS.format(4, 0.2), "few random sets", "both"),
        (of_limits.LAST_POSITION, "neither", "not learned"),
    ],
)
def test_each_limit_has_its_condition(sentence: str, where: str, where_not: str) -> None:
    assert sentence in claim_of(made_up(**SETTINGS[where])).limits
    assert sentence not in claim_of(made_up(**SETTINGS[where_not])).limits


def test_too_few_tasks_are_said() -> None:
    large = made_up(shape=(10, 50))
    assert of_limits.FEW_TASKS.format(N // 2, 500) in claim_of(large).limits
    assert not any("too few for one of" in limit for limit in claim_of(made_up()).limits)


def test_the_given_list_is_the_rival_where_there_is_one() -> None:
    claim = claim_of(made_up(**SETTINGS["given"]))
    assert claim.rival.startswith("Ablating the given heads (L0H1, L1H2; named by the user)") or (
        claim.rival.startswith("Ablating the given heads (L1H2, L0H1; named by the user)")
    )
    assert "one half by chance" in claim.rival
    for kind in ("both", "nothing given in a report"):
        assert claim_of(made_up(**SETTINGS[kind])).rival.startswith("Ablating the strongest heads by the task mean")


def test_a_set_that_costs_less_than_random_ones_is_said_so() -> None:
    assert "Random heads of the same layers cost as much or more." in claim_of(made_up(cost=0.0)).found
    assert "Random heads of the same layers cost as much or more." not in claim_of(made_up()).found
