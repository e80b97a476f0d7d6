"""The verdict: what behaviour and attention say together, in a fixed order.

1. In-context learning: accuracy rises above zero-shot, and above what the same demonstrations give with half of their
   labels wrong. Otherwise there is nothing to explain.
2. A rule is compared where it learns the demonstrations: its accuracy rises above zero-shot.
3. Behaviour: whether answers in context are as near to a rule's as those of planted gradient descent are, which is the
   rule at a third of the rate, by Adam, or after half of the run.
4. Attention, by the label-swap contrast: whether it is above its floors, and how much of that of planted gradient
   descent it is in the first layer. Of two rules, the clearly larger contrast names one.
5. Order: whether answers change with the order of demonstrations that disagree, which full-batch descent never sees.

What the contrast may say is what it was seen to tell apart. Without in-context learning it was above its floors in none
of 38 comparisons, and planted gradient descent always was. Over all layers it does not tell gradient descent from
in-context learning: planted by Adam it is .20 to .37 and in context .13 to .35, because the last layer also sees that
two ways have the same answer (.66 for a circuit that copies). In the first layer a copying circuit has .01 and models
that learn in context .03 to .14, planted gradient descent .16 to .56. That is of nine models of two layers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from ..comparing.numbers import Number, number
from ..measure import Measure
from .names import (
    ABOVE_FLOOR,
    AGAINST_PLANTED,
    BETWEEN,
    BEYOND,
    CONFLICTING,
    DEMOS,
    DISTANCE,
    GAIN,
    GAIN_BY_LABELS,
    IN_CONTEXT,
    LEARNED,
    ORDER,
    PLANTED_ABOVE,
    RIVAL,
    RIVAL_AHEAD,
    RIVALS,
    RULE,
    SHARE,
    TITLES,
    Rule,
)

ORDER_MATTERS = 0.05
"""Mean total variation between orders, above which it is said: a circuit that copies has .02, from positions alone."""
AS_NEAR = 0.1
"""Answers that are at most so much farther than planted gradient descent are near, in total variation."""
AS_MUCH = 0.5
"""The least share of planted gradient descent, in the first layer, of what is called its closest rival."""
AS_LITTLE = 2 / 3
"""The share below which the first layer is said to differ: planted descent by Adam, at another rate than the planted
descent that it is compared with, has .7 to 1.1."""

Behaviour = Literal["near", "apart", "unclear"]
Attention = Literal["blind", "no trace", "below", "alike", "unclear"]
Called = Literal["none", "not learned", "no trace", "elsewhere", "apart", "rival", "closest", "undecided"]


@dataclass(frozen=True)
class OfRule:
    """Of one rule, all of them means over tasks. What does not exist is NaN.

    learned:          accuracy above zero-shot
    distance:         total variation of its answers from those in context
    beyond_planted:   that, above the largest distance of planted gradient descent from the rule
    above_floor:      the contrast in context above its strongest floor, over layers
    planted_above:    that of the weakest planted gradient descent
    against_planted:  in the first layer, the contrast in context minus that of the weakest planted gradient descent
    share:            in the first layer, the one as a share of the other
    """

    rule: Rule
    learned: Number
    distance: Number
    beyond_planted: Number
    above_floor: Number
    planted_above: Number
    against_planted: Number
    share: Number

    @property
    def learns(self) -> bool:
        return self.learned.low > 0

    @property
    def behaviour(self) -> Behaviour:
        """Read off the whole interval; few tasks leave it unclear."""
        if self.beyond_planted.low > 0:
            return "apart"
        return "near" if self.beyond_planted.high <= AS_NEAR else "unclear"

    @property
    def attention(self) -> Attention:
        """ "blind" where planted gradient descent itself is not seen."""
        if not self.planted_above.low > 0:
            return "blind"
        if self.above_floor.low <= 0:
            return "no trace"
        if self.share.high < AS_LITTLE:
            return "below"
        return "alike" if self.share.low >= AS_MUCH else "unclear"


@dataclass(frozen=True)
class Evidence:
    """What a verdict is made of.

    gain:            accuracy in context above zero-shot
    gain_by_labels:  accuracy in context above that with shuffled labels
    order:           total variation between orders of demonstrations that disagree; NaN where it was not measured
    rivals:          total variation from answers in context, of rivals that learn nothing
    rival_ahead:     distance of the nearest rule minus that of the nearest rival; NaN without rivals
    """

    gain: Number
    gain_by_labels: Number
    order: Number
    rules: tuple[OfRule, ...]
    rivals: Mapping[str, Number]
    rival_ahead: Number

    @classmethod
    def of(cls, measures: Mapping[str, Measure]) -> Evidence:
        """Read off the measures of answers and of attention."""
        order, rivals = measures[ORDER], measures[RIVALS]
        return cls(
            number(measures[GAIN]),
            number(measures[GAIN_BY_LABELS]),
            number(order.sel(**{DEMOS: CONFLICTING}) if order.axes else order),
            tuple(_of_rule(measures, rule) for rule in measures[LEARNED].labels(RULE)),
            {rival: number(rivals.sel(**{RIVAL: rival})) for rival in rivals.labels(RIVAL)} if rivals.axes else {},
            number(measures[RIVAL_AHEAD]),
        )


def _of_rule(measures: Mapping[str, Measure], rule: Rule) -> OfRule:
    distance = measures[DISTANCE].sel(**{RULE: rule, BETWEEN: IN_CONTEXT})
    names = (BEYOND, ABOVE_FLOOR, PLANTED_ABOVE, AGAINST_PLANTED, SHARE)
    learned, *others = (number(measures[name].sel(**{RULE: rule})) for name in (LEARNED, *names))
    return OfRule(rule, learned, number(distance), *others)


@dataclass(frozen=True)
class Verdict:
    """
    called:     what it comes to
    rule:       of which rule it speaks, None of none
    sentences:  the first one is the verdict
    """

    called: Called
    rule: Rule | None
    sentences: tuple[str, ...]


def verdict(evidence: Evidence) -> Verdict:
    """What these tasks say."""
    gains = evidence.gain, evidence.gain_by_labels
    if any(np.isnan(gain.low) for gain in gains):
        return Verdict("undecided", None, ("One task does not decide: its accuracy has no interval.",))
    if any(gain.low <= 0 for gain in gains):
        return Verdict("none", None, (NO_LEARNING, _why_none(evidence)))
    learners = [one for one in evidence.rules if one.learns]
    others = tuple(_not_learned(one) for one in evidence.rules if not one.learns)
    if not learners:
        said = f"{_capital(_either(evidence.rules))} from this checkpoint does not learn these tasks."
        return Verdict("not learned", None, (said, *others))
    called, rule = _called(evidence, learners)
    found = [_headline(called, rule, learners, evidence), *others]
    found += [sentence for one in learners for sentence in (_by_answers(one), _by_attention(one))]
    return Verdict(called, rule, (*found, *_of_rivals(evidence), *_of_order(evidence)))


def _called(evidence: Evidence, learners: Sequence[OfRule]) -> tuple[Called, Rule | None]:
    """Answers do not say which of two rules it is: both learn the labels. The clearly larger contrast names one."""
    attention = {one.attention for one in learners}
    if attention == {"no trace"}:
        return "no trace", None
    if attention <= {"no trace", "below"}:
        return "elsewhere", None
    if evidence.rival_ahead.low > 0:
        return "rival", None
    if all(one.behaviour == "apart" for one in learners):
        return "apart", None
    ahead = max(learners, key=lambda one: one.above_floor.low)
    others = [one.above_floor.high for one in learners if one is not ahead]
    if (ahead.behaviour, ahead.attention) == ("near", "alike") and ahead.above_floor.low > max(others, default=-np.inf):
        return "closest", ahead.rule
    return "undecided", None


NO_LEARNING = "There is no in-context learning of the rule on these tasks: nothing to explain."


def _headline(called: Called, rule: Rule | None, learners: Sequence[OfRule], evidence: Evidence) -> str:
    either = _either(learners)
    said: dict[Called, str] = {
        "no trace": f"In attention there is no trace of {either}: labels enter another way.",
        "elsewhere": f"Labels act on attention in the first layer less as under {either} than in another run of it.",
        "apart": f"In context the model does not answer as it does after {either}.",
        "undecided": f"These tasks do not decide whether in-context learning is like {either}.",
    }
    if called == "rival":
        return f"Closest of these rivals: {_nearest_rival(evidence)}, which learns nothing."
    return f"Closest of these rivals: {TITLES[rule]}." if rule else said[called]


def _why_none(evidence: Evidence) -> str:
    if evidence.gain.low <= 0:
        return f"Demonstrations do not raise accuracy above zero-shot: difference {evidence.gain}."
    return (
        f"Demonstrations raise accuracy by {evidence.gain}, but those with shuffled labels do as well: difference"
        f" {evidence.gain_by_labels}."
    )


def _not_learned(one: OfRule) -> str:
    return f"{_capital(TITLES[one.rule])} does not raise accuracy above zero-shot: difference {one.learned}."


def _by_answers(one: OfRule) -> str:
    rule, planted = TITLES[one.rule], "those of another run of that descent"
    if one.behaviour == "near":
        return f"Answers in context are as near to {rule} as {planted}: total variation {one.distance}."
    if one.behaviour == "apart":
        beyond = f"by {one.beyond_planted} in total variation"
        return f"Answers in context are farther from {rule} than {planted}, {beyond}."
    beyond = f"difference {one.beyond_planted} in total variation"
    return f"Answers in context may be as near to {rule} as {planted}: {beyond}."


def _by_attention(one: OfRule) -> str:
    rule = TITLES[one.rule]
    contrast = f"the label-swap contrast with {rule}"
    if one.attention == "blind":
        return f"The label-swap contrast cannot tell on these tasks: it does not see planted {rule}."
    if one.attention == "no trace":
        seen = f"that of planted {rule} is, by {one.planted_above}"
        return f"{_capital(contrast)} is not above its floor: difference {one.above_floor}; {seen}."
    if one.attention == "below":
        below = f"below that of planted {rule}, by {_turned(one.against_planted)}"
        return f"In the first layer {contrast} is {below}."
    if one.attention == "alike":
        return f"In the first layer {contrast} is, as a share of that of planted {rule}, {one.share}."
    return (
        f"{_capital(contrast)} is above its floor by {one.above_floor}. Over all layers that does not tell gradient"
        " descent from other ways to the same answers."
    )


def _of_rivals(evidence: Evidence) -> tuple[str, ...]:
    ahead = evidence.rival_ahead
    if np.isnan(ahead.low):
        return ()
    rival = _nearest_rival(evidence)
    if ahead.low > 0:
        return (f"Nearer to answers in context than any rule is {rival}, by {ahead} in total variation.",)
    if ahead.high < 0:
        return (f"The nearest rival that learns nothing is {rival}, farther by {_turned(ahead)} in total variation.",)
    return (f"The nearest rival that learns nothing is {rival}, about as near: difference {ahead}.",)


def _of_order(evidence: Evidence) -> tuple[str, ...]:
    if not evidence.order.low > ORDER_MATTERS:
        return ()
    return (
        f"The order of demonstrations that disagree matters (total variation {evidence.order}), so it is not full-batch"
        " gradient descent exactly.",
    )


def _nearest_rival(evidence: Evidence) -> str:
    return min(evidence.rivals, key=lambda rival: evidence.rivals[rival].value)


def _either(rules: Sequence[OfRule]) -> str:
    return " or ".join(TITLES[one.rule] for one in rules)


def _turned(difference: Number) -> Number:
    return Number(-difference.value, -difference.high, -difference.low)


def _capital(words: str) -> str:
    return words[0].upper() + words[1:]
