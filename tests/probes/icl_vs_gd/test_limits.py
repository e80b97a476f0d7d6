"""Limits of a claim: each under its condition, and not otherwise."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mesascope.probes.icl_vs_gd.facts import FREE_TEXT, GENERATED, HALF, LEARNED_POSITIONS, ONE_TASK, RECALL, SHARED
from mesascope.probes.icl_vs_gd.limits import (
    FEW,
    FIRST_TOKEN,
    IN_FLOAT64,
    NEARLY_ALWAYS_RIGHT,
    NO_CEILING,
    NO_OTHER_TASK,
    ON_THESE_TASKS,
    OTHER_DESCENTS,
    POSITIONS,
    RANDOM_TOKENS,
    REPEATED,
    SAME_ANSWERS,
    SAME_EXAMPLES,
    SMALL_MODELS,
    limits,
)
from mesascope.probes.icl_vs_gd.verdicts import NEGLIGIBLE, Evidence, verdict

from .made_up_numbers import NONE, TUNED, made, over_seeds

ALIKE: dict[str, Any] = {"contrast": {"in context": 0.5}, "rules": ("gd",)}
NOT_LEARNED = {"accuracy": {"gd": 0.5, "lcgd": 0.5}}


def of(measures: Any) -> list[str]:
    return list(limits(measures, verdict(Evidence.of(measures))))


def said(**how: Any) -> list[str]:
    return of(made(**how))


@pytest.mark.parametrize(
    ("fact", "limit"),
    [
        (FREE_TEXT, FIRST_TOKEN),
        (GENERATED, RANDOM_TOKENS),
        (RECALL, REPEATED),
        (SHARED, SAME_EXAMPLES),
        (ONE_TASK, NO_OTHER_TASK),
        (LEARNED_POSITIONS, POSITIONS),
        (HALF, IN_FLOAT64),
    ],
)
@pytest.mark.parametrize("how", [{}, {"accuracy": NONE}])
def test_facts_of_tasks_and_models(fact: str, limit: str, how: dict[str, Any]) -> None:
    assert limit in said(facts=(fact, "something else"), **how)
    assert limit not in said(**how)
    assert limit not in said(facts=[other for other in (FREE_TEXT, RECALL, HALF) if other != fact], **how)
    seeds = over_seeds(*(made(seed=seed, facts=(fact,), **how) for seed in range(3)))
    assert limit in of(seeds)


def test_absence_is_on_these_tasks_alone() -> None:
    assert ON_THESE_TASKS in said(accuracy=NONE)
    assert ON_THESE_TASKS not in said()


def test_an_absence_that_few_tasks_cannot_show_is_none() -> None:
    def gains(**numbers: tuple[float, float, float]) -> list[str]:
        measures = made()
        for name, (value, low, high) in numbers.items():
            interval = np.array(low), np.array(high)
            measures[name] = replace(measures[name], values=np.array(value), interval=interval)
        return [limit for limit in of(measures) if "do not exclude" in limit]

    said_of = "These tasks do not exclude that {} by up to 0.400. More of them would tell (`--n-tasks`)."
    assert gains(accuracy_gain=(0.1, -0.2, 0.4)) == [said_of.format("demonstrations raise accuracy")]
    assert gains(accuracy_gain_by_labels=(0.1, -0.2, 0.4)) == [said_of.format("right labels raise it")]
    assert gains(accuracy_gain=(0.1, 0.0, 0.4), accuracy_gain_by_labels=(0.1, 0.0, 0.9)) == [
        said_of.format("demonstrations raise accuracy")
    ]
    assert gains(accuracy_gain=(0.2, 0.02, 0.4)) == [said_of.format("demonstrations raise accuracy")]
    assert gains(accuracy_gain=(0.02, -0.05, NEGLIGIBLE)) == gains(accuracy_gain=(0.3, 0.2, 0.4)) == []
    negligible = (0.0, -0.05, 0.05)
    assert gains(accuracy_gain=(0.1, 0.0, 0.4), accuracy_gain_by_labels=negligible) == []
    assert gains(accuracy_gain=negligible, accuracy_gain_by_labels=(0.1, 0.0, 0.4)) == []


def test_what_was_known_before_is_said_where_nothing_is_learned() -> None:
    known = {"zero-shot": 0.9, "in context": 0.9, "in context, shuffled labels": 0.9}
    sentence = "What the model knows beforehand leaves less to learn in context."
    found = [limit for limit in said(accuracy=known) if sentence in limit]
    assert len(found) == 1
    assert found[0].startswith("Without demonstrations accuracy is 0.8")
    assert "chance is 0.500" in found[0]
    for zero_shot in (0.49, 0.503):  # whose interval covers chance
        assert not any(sentence in limit for limit in said(accuracy=NONE | {"zero-shot": zero_shot}))
    assert not any(sentence in limit for limit in said(accuracy={"zero-shot": 0.7}))  # it learns, all the same
    unknown = made(accuracy=known)
    del unknown["chance"]
    assert not any(sentence in limit for limit in of(unknown))


def test_the_closest_rule_is_never_said_to_be_performed() -> None:
    (found,) = (limit for limit in said(**ALIKE) if "performs" in limit)
    assert found.startswith("Closest of these rivals does not mean that the model performs gradient descent.")
    for how in ({}, {"accuracy": NONE}, NOT_LEARNED):
        assert not any("performs" in limit for limit in said(**how))


def test_the_conditions_of_a_verdict_by_attention_have_theirs() -> None:
    for limit in (SAME_ANSWERS, SMALL_MODELS):
        assert all(limit in said(**how) for how in ({}, ALIKE))
        assert not any(limit in said(**how) for how in ({"accuracy": NONE}, NOT_LEARNED, {"rules": ()}, {"n": 1}))


def test_right_answers_are_alike() -> None:
    right = {"in context": 0.99}
    assert NEARLY_ALWAYS_RIGHT in said(accuracy=right)
    assert NEARLY_ALWAYS_RIGHT not in said(accuracy={"in context": 0.9})
    assert NEARLY_ALWAYS_RIGHT not in said(accuracy={"zero-shot": 0.99, **right})  # nothing is learned
    assert NEARLY_ALWAYS_RIGHT not in said(accuracy={**NOT_LEARNED["accuracy"], **right})


def test_rules_that_do_not_learn_might_by_other_means() -> None:
    assert OTHER_DESCENTS in said(**NOT_LEARNED)
    assert not any(OTHER_DESCENTS in said(**how) for how in ({}, {"accuracy": NONE}, {"accuracy": {"gd": 0.5}}))


def test_an_end_of_the_grid_is_said_of_the_rules_that_were_compared() -> None:
    edge = f"{TUNED}; 64 is the largest of the numbers of steps tried: it may not have converged"
    found = [limit for limit in said(tuned=edge) if "end of its grid" in limit]
    assert [limit.split(" was")[0] for limit in found] == ["Gradient descent", "Layer-causal gradient descent"]
    assert [limit.split(" was")[0] for limit in said(tuned=edge, rules=("gd",)) if "end of its grid" in limit] == [
        "Gradient descent"
    ]
    for how in ({}, {"tuned": edge, "accuracy": NONE}, {"tuned": edge, "rules": ()}):
        assert not any("end of its grid" in limit for limit in said(**how))
    without = made(tuned=edge)
    del without["learning_rate"]
    assert not any("end of its grid" in limit for limit in of(without))


def test_without_a_fit_to_attention_the_most_that_steps_can_do_is_not_known() -> None:
    assert NO_CEILING in said(matching=False)
    assert NO_CEILING not in said()
    assert NO_CEILING not in said(matching=False, accuracy=NONE)


def test_few_tasks_and_several_seeds() -> None:
    few = "The bootstrap resamples only 6 tasks: its intervals are too narrow."
    assert few in said(n=6)
    assert not any("resamples only" in limit for limit in said(n=FEW))
    seeds = of(over_seeds(made(n=6), made(n=6, seed=1)))
    assert "These are means over seeds. One seed may learn in another way than the next." in seeds
    assert not any("resamples only" in limit for limit in seeds)
    assert not any("means over" in limit for limit in said())
