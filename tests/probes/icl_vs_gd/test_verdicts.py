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
        ({"gain": near(0.01)}, "Demonstrations do not clearly raise accuracy above zero-shot: difference 0.0100"),
        ({"gain": near(-0.2)}, "Demonstrations do not clearly raise accuracy above zero-shot: difference -0.200"),
        ({"gain": near(0.04)}, "Demonstrations do not clearly raise accuracy above zero-shot: difference 0.0400"),
        ({"gain_by_labels": near(0.04)}, "Shuffling their labels makes no clear difference: 0.0400"),
        ({"gain_by_labels": near(0.02)}, "Shuffling their labels makes no clear difference: 0.0200"),
    ],
)
def test_without_in_context_learning_nothing_is_explained(changed: dict[str, Number], why: str) -> None:
    for one in (GD, BELOW, NO_TRACE, UNCLEAR, BLIND, replace(GD, learned=near(0.0))):
        found = judged(one, order=near(0.4), **changed)
        assert (found.called, found.rule) == ("none", None)
        assert "no in-context learning" in found.sentences[0]
        assert why in found.sentences[1]
        assert len(found.sentences) == 2
        assert found.rival == ""
    assert "no in-context learning" not in " ".join(judged().sentences)


@pytest.mark.parametrize(
    ("changed", "excluded"),
    [
        ({"gain": Number(0.02, -0.05, 0.1)}, True),
        ({"gain": Number(0.3, -0.05, 0.4)}, False),
        ({"gain_by_labels": Number(0.5, 0.0, 1.0)}, False),
        ({"gain": Number(0.3, -0.05, 0.4), "gain_by_labels": Number(0.0, -0.05, 0.05)}, True),
        ({"gain": Number(0.0, -0.05, 0.05), "gain_by_labels": Number(0.5, 0.0, 1.0)}, True),
    ],
)
def test_few_tasks_do_not_exclude_learning(changed: dict[str, Number], excluded: bool) -> None:
    first = judged(**changed).sentences[0]
    assert first.endswith("so there is nothing to explain." if excluded else "but they are too few to exclude it.")
    assert "no in-context learning" in first


def test_without_a_rule_nothing_is_compared() -> None:
    found = verdict(replace(FINE, rules=()))
    assert (found.called, found.rule) == ("not compared", None)
    assert found.sentences == (
        "The model learns these tasks in context, but no rule of gradient descent could be compared with it.",
    )
    assert verdict(replace(FINE, rules=(), gain=near(0.0))).called == "none"
    assert judged().called == "closest"


def test_one_task_does_not_decide() -> None:
    found = judged(gain=Number(0.5, np.nan, np.nan))
    assert (found.called, found.sentences) == (
        "undecided",
        ("These tasks do not decide: accuracy has no interval.",),
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
        (0.1, 0.3, "below"),
        (-0.1, 0.3, "below"),
        (0.1, 0.4, "unclear"),
        (0.4, 2.0, "unclear"),
        (0.6, 0.9, "alike"),
    ):
        assert replace(GD, share=Number((low + high) / 2, low, high)).attention == attention
    assert replace(GD, share=NONE).attention == "unclear"


def test_a_trace_in_the_first_layer_is_one() -> None:
    """Over all layers the contrast may be too small to be seen."""
    unseen = replace(GD, above_floor=near(0.01))
    for low, high, attention in ((-0.1, 0.3, "no trace"), (0.2, 0.7, "unclear"), (0.6, 0.9, "unclear")):
        assert replace(unseen, share=Number((low + high) / 2, low, high)).attention == attention
    said = [sentence for sentence in judged(unseen).sentences if "may exceed its floor: difference 0.0100" in sentence]
    assert len(said) == 1
    assert not any("may exceed" in sentence for sentence in judged(UNCLEAR).sentences)


def test_answers_are_apart_where_they_are_certainly_not_near() -> None:
    for beyond, behaviour in ((0.05, "near"), (0.09, "unclear"), (0.11, "unclear"), (0.13, "apart")):
        assert replace(GD, beyond_planted=near(beyond)).behaviour == behaviour


def test_a_rival_is_named_only_where_answers_are_not_those_of_a_rule() -> None:
    """The label of the nearest demonstration is always right on some tasks, and so is whatever learns them."""
    nearer: dict[str, Any] = {
        "rivals": {"last demonstration": near(0.05), "copy": near(0.06)},
        "rival_ahead": near(0.05),
    }
    apart = replace(GD, beyond_planted=near(0.2))
    found = judged(apart, **nearer)
    assert (found.called, found.rule) == ("rival", None)
    assert found.sentences[0] == "Closest of these rivals: the last demonstration's label, not gradient descent."
    assert judged(apart).called == judged(apart, rival_ahead=near(0.0)).called == "apart"
    for one in (GD, replace(GD, beyond_planted=near(0.1, 0.2))):
        assert judged(one, **nearer).called == judged(one).called
        assert judged(one, **nearer).rival.startswith(
            "Nearer to answers in context than any gradient descent is the last"
        )
    assert judged(apart, as_lcgd(GD), **nearer).called != "rival"
    assert judged(NO_TRACE, rival_ahead=near(0.05)).called == "no trace"
    for ahead, said in (
        (
            near(0.05),
            "Nearer to answers in context than any gradient descent is label frequencies, by 0.0500",
        ),
        (
            near(-0.4),
            "The nearest rival without gradients is label frequencies, farther by 0.400 (95 % CI 0.380",
        ),
        (near(0.0), "The nearest rival without gradients is label frequencies, about as near"),
    ):
        assert judged(rival_ahead=ahead).rival.startswith(said)
    alone = verdict(replace(FINE, rules=(), rival_ahead=NONE)).rival
    assert (
        alone
        == "The nearest rival without gradients is label frequencies: total variation 0.500 (95 % CI 0.480 to 0.520)."
    )
    without = judged(rivals={}, rival_ahead=NONE)
    assert (without.called, without.rival) == ("closest", "")


# --- sentences


@pytest.mark.parametrize(
    ("one", "said"),
    [
        (GD, "contrast with gradient descent reaches 0.900 (95 % CI 0.700 to 1.100) of that of another run of it."),
        (BELOW, "contrast with gradient descent is only 0.200 (95 % CI 0.180 to 0.220) of that of another run of it."),
        (NO_TRACE, "does not exceed its floor: difference 0.0100"),
        (NO_TRACE, "; that of another run of it does, by 0.500"),
        (UNCLEAR, "exceeds its floor by 0.500 (95 % CI 0.480 to 0.520). In the first layer it is 0.500 (95 % CI 0.20"),
        (replace(UNCLEAR, share=NONE), "In the first layer it cannot be compared with that of another run."),
        (BLIND, "cannot tell on these tasks: it does not detect even another run of gradient descent."),
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
        (
            near(-0.1),
            "Answers in context are about as near to gradient descent as other runs of it: total variation 0.1",
        ),
        (near(0.2), "Answers in context are farther from gradient descent than other runs of it, by 0.200"),
        (near(0.14), "Answers in context are farther from gradient descent than other runs of it, by 0.140"),
        (
            near(0.09),
            "than other runs of it, but perhaps not by much: difference 0.09",
        ),
        (
            near(0.09, 0.1),
            "Answers in context may be as near to gradient descent as other runs of it: difference 0.090",
        ),
    ],
)
def test_what_answers_say(beyond: Number, said: str) -> None:
    sentences = judged(replace(GD, beyond_planted=beyond)).sentences
    assert sum(said in sentence for sentence in sentences) == 1
    assert sum(sentence.startswith("Answers in context") for sentence in sentences) == 1


def test_order_is_said_where_it_matters() -> None:
    for order, said in ((near(0.4), True), (near(0.06), False), (near(0.02), False), (NONE, False)):
        sentences = judged(BELOW, order=order).sentences
        assert any("So it is not full-batch gradient descent exactly" in sentence for sentence in sentences) == said


def test_no_verdict_says_that_a_model_performs_gradient_descent() -> None:
    kinds = (GD, BELOW, NO_TRACE, UNCLEAR, BLIND)
    for one, other in itertools.product(kinds, kinds):
        found = judged(one, as_lcgd(other), order=near(0.4))
        text = " ".join(found.sentences)
        assert "perform" not in text
        assert "nan" not in text
        assert len(set(found.sentences)) == len(found.sentences)
        assert all(sentence.endswith(".") for sentence in found.sentences)
