"""Verdicts: each under its condition, and not otherwise; every sentence where it belongs."""

from __future__ import annotations

import itertools
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mesascope.probes.comparing.numbers import Number
from mesascope.probes.icl_vs_gd.verdicts import Evidence, OfRule, Verdict, verdict

NONE = Number(np.nan, np.nan, np.nan)


def near(value: float, half: float = 0.02) -> Number:
    return Number(value, value - half, value + half)


GD = OfRule(
    rule="gd",
    learned=near(0.4),
    distance=near(0.1),
    beyond_planted=near(0.0),
    above_floor=near(0.5),
    planted_above=near(0.5),
    against_planted=near(0.01),
    share=near(0.9, 0.2),
)
"""As planted gradient descent is."""
BELOW = replace(GD, against_planted=near(-0.3), share=near(0.2))
NO_TRACE = replace(GD, above_floor=near(0.01), against_planted=near(-0.4), share=near(0.01))
UNCLEAR = replace(GD, share=near(0.5, 0.3), against_planted=near(-0.1, 0.2))
BLIND = replace(GD, planted_above=near(0.01))
FINE = Evidence(
    near(0.5), near(0.4), near(0.01), (GD,), {"label frequencies": near(0.5), "last": near(0.9)}, near(-0.4)
)


def judged(*rules: OfRule, **others: Any) -> Verdict:
    return verdict(replace(FINE, rules=rules or (GD,), **others))


def as_lcgd(one: OfRule, **others: Any) -> OfRule:
    return replace(one, rule="lcgd", **others)


# --- in the order of the verdict


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"gain": near(0.01)}, "Demonstrations do not raise accuracy above zero-shot: difference 0.0100"),
        ({"gain": near(-0.2)}, "Demonstrations do not raise accuracy above zero-shot: difference -0.200"),
        ({"gain_by_labels": near(0.02)}, "but those with shuffled labels do as well: difference 0.0200"),
    ],
)
def test_without_in_context_learning_nothing_is_explained(changed: dict[str, Number], why: str) -> None:
    for one in (GD, BELOW, NO_TRACE, UNCLEAR, BLIND, replace(GD, learned=near(0.0))):
        found = judged(one, order=near(0.4), **changed)
        assert (found.called, found.rule) == ("none", None)
        assert "no in-context learning" in found.sentences[0]
        assert why in found.sentences[1]
        assert len(found.sentences) == 2
    assert "no in-context learning" not in " ".join(judged().sentences)


def test_one_task_does_not_decide() -> None:
    found = judged(gain=Number(0.5, np.nan, np.nan))
    assert (found.called, found.sentences) == (
        "undecided",
        ("One task does not decide: its accuracy has no interval.",),
    )


def test_rules_that_do_not_learn_are_not_compared() -> None:
    lame = as_lcgd(NO_TRACE, learned=near(0.01))
    both = judged(replace(GD, learned=near(-0.1)), lame)
    assert both.called == "not learned"
    said = "Gradient descent or layer-causal gradient descent from this checkpoint does not learn these tasks."
    assert both.sentences[0] == said
    assert [sentence[:60] for sentence in both.sentences[1:]] == [
        "Gradient descent does not raise accuracy above zero-shot: di",
        "Layer-causal gradient descent does not raise accuracy above ",
    ]
    one = judged(GD, lame)
    assert (one.called, one.rule) == ("closest", "gd")
    assert sum("layer-causal" in sentence.lower() for sentence in one.sentences) == 1
    assert not any("does not raise accuracy" in sentence for sentence in judged().sentences)


@pytest.mark.parametrize(
    ("one", "other", "called"),
    [
        (NO_TRACE, NO_TRACE, "no trace"),
        (NO_TRACE, BELOW, "elsewhere"),
        (BELOW, BELOW, "elsewhere"),
        (NO_TRACE, GD, "closest"),
        (BELOW, UNCLEAR, "undecided"),
        (UNCLEAR, UNCLEAR, "undecided"),
        (BLIND, BLIND, "undecided"),
        (BLIND, NO_TRACE, "undecided"),
    ],
)
def test_attention_says_so_of_all_rules_together(one: OfRule, other: OfRule, called: str) -> None:
    assert judged(one, as_lcgd(other)).called == called
    assert judged(other, as_lcgd(one)).called == called
    assert judged(one, as_lcgd(GD, learned=near(0.0))).called == judged(one).called


def test_a_trace_of_attention_alone_never_names_a_rule() -> None:
    """Answers that are farther than planted descent, or that nobody can place, stay unnamed."""
    assert judged(replace(GD, beyond_planted=near(0.2))).called == "apart"
    assert judged(replace(GD, beyond_planted=near(0.05, 0.1))).called == "undecided"
    assert judged(replace(GD, beyond_planted=NONE)).called == "undecided"
    assert judged(replace(GD, beyond_planted=near(0.2)), as_lcgd(UNCLEAR)).called == "undecided"


def test_the_rule_with_the_clearly_larger_contrast_is_named() -> None:
    for contrasts, rule in (((0.5, 0.8), "lcgd"), ((0.8, 0.5), "gd"), ((0.8, 0.77), None)):
        one, other = (near(contrast) for contrast in contrasts)
        nearer = near(0.01)  # answers do not decide it
        found = judged(replace(GD, above_floor=one), as_lcgd(GD, above_floor=other, distance=nearer))
        title = {"gd": "gradient descent", "lcgd": "layer-causal gradient descent"}
        assert (found.called, found.rule) == ("closest" if rule else "undecided", rule)
        assert (found.sentences[0] == f"Closest of these rivals: {title.get(str(rule))}.") == bool(rule)
    larger = as_lcgd(BELOW, above_floor=near(0.9))
    assert judged(GD, larger).called == "undecided"  # another rule is nearer, and is not alike


def test_a_share_that_few_tasks_leave_open_is_neither() -> None:
    for low, high, attention in (
        (0.1, 0.6, "below"),
        (0.1, 0.7, "unclear"),
        (0.4, 2.0, "unclear"),
        (0.6, 0.9, "alike"),
    ):
        assert replace(GD, share=Number((low + high) / 2, low, high)).attention == attention
    assert replace(GD, share=NONE).attention == "unclear"


def test_a_rival_that_learns_nothing_and_is_nearer_comes_before_rules() -> None:
    found = judged(rivals={"last demonstration": near(0.05), "copy": near(0.06)}, rival_ahead=near(0.05))
    assert (found.called, found.rule) == ("rival", None)
    assert found.sentences[0] == "Closest of these rivals: last demonstration, which learns nothing."
    assert judged(NO_TRACE, rival_ahead=near(0.05)).called == "no trace"
    for ahead, said in (
        (near(0.05), "Nearer to answers in context than any rule is label frequencies, by 0.0500"),
        (near(-0.4), "The nearest rival that learns nothing is label frequencies, farther by 0.400 (95 % CI 0.380 to"),
        (near(0.0), "The nearest rival that learns nothing is label frequencies, about as near"),
    ):
        assert sum(said in sentence for sentence in judged(rival_ahead=ahead).sentences) == 1
    without = judged(rivals={}, rival_ahead=NONE)
    assert without.called == "closest"
    assert not any("rival that" in sentence for sentence in without.sentences)


# --- sentences


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (GD, "In the first layer the label-swap contrast with gradient descent is, as a share of that of planted"),
        (BELOW, "is below that of planted gradient descent, by 0.300 (95 % CI 0.280 to 0.320)."),
        (NO_TRACE, "is not above its floor: difference 0.0100"),
        (UNCLEAR, "is above its floor by 0.500"),
        (BLIND, "cannot tell on these tasks: it does not see planted gradient descent."),
        (
            replace(GD, above_floor=NONE, planted_above=NONE, against_planted=NONE, share=NONE),
            "cannot tell on these tasks",
        ),
    ],
)
def test_what_attention_says(one: OfRule, said: str) -> None:
    every = (GD, BELOW, NO_TRACE, UNCLEAR, BLIND)
    assert sum(said in sentence for sentence in judged(one).sentences) == 1
    for other in every:
        if other.attention != one.attention:
            assert not any(said in sentence for sentence in judged(other).sentences)


@pytest.mark.parametrize(
    ("beyond", "said"),
    [
        (near(-0.1), "Answers in context are as near to gradient descent as those of another run of that descent"),
        (near(0.2), "Answers in context are farther from gradient descent than those of another run of that descent"),
        (near(0.09), "Answers in context are farther from"),
        (near(0.09, 0.1), "Answers in context may be as near to gradient descent as those of another run"),
    ],
)
def test_what_answers_say(beyond: Number, said: str) -> None:
    sentences = judged(replace(GD, beyond_planted=beyond)).sentences
    assert sum(said in sentence for sentence in sentences) == 1
    assert sum(sentence.startswith("Answers in context") for sentence in sentences) == 1


def test_order_is_said_where_it_matters() -> None:
    for order, said in ((near(0.4), True), (near(0.06), False), (near(0.02), False), (NONE, False)):
        sentences = judged(BELOW, order=order).sentences
        assert any("so it is not full-batch gradient descent exactly" in sentence for sentence in sentences) == said


def test_no_verdict_says_that_a_model_performs_gradient_descent() -> None:
    kinds = (GD, BELOW, NO_TRACE, UNCLEAR, BLIND)
    for one, other in itertools.product(kinds, kinds):
        found = judged(one, as_lcgd(other), order=near(0.4))
        text = " ".join(found.sentences)
        assert "perform" not in text
        assert "nan" not in text
        assert len(set(found.sentences)) == len(found.sentences)
        assert all(sentence.endswith(".") for sentence in found.sentences)
