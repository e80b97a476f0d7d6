"""The verdict: what behaviour and attention say together, in a fixed order.

1. In-context learning: accuracy rises clearly above zero-shot, and above what the same demonstrations give with half of
   their labels wrong. Otherwise there is nothing to explain.
2. A rule is compared where it learns the demonstrations: its accuracy rises above zero-shot.
3. Behaviour: whether answers in context are as near to a rule's as those of planted gradient descent are, which is the
   rule at a third of the rate, by Adam, or after half of the run.
4. Attention, by the label-swap contrast: whether it is above its floors, and how much of that of planted gradient
   descent it is in the first layer. Of two rules, the clearly larger contrast names one.
5. Order: whether answers change with the order of demonstrations that disagree, which full-batch descent never sees.

What the contrast may say is what it was seen to tell apart, in models of one and two layers. Without in-context
learning it was above its floors in none of 56 comparisons, and planted gradient descent was in 54. Over all layers it
does not tell gradient descent from in-context learning: planted by Adam it is .20 to .37 and in context .13 to .35,
because the last layer also sees that two ways have the same answer (.66 for a circuit that copies). The first layer
does: of planted descent, five fresh models that learn in context have -.05 to .18, and the circuit .01.

In these six models, and in eight that do not learn in context, other descents were planted: at other rates, by Adam, in
a drawn order, of all parameters, and layer-causal. Their shares with their own rule are .35 to 2.0. Of 78, 45 are
called by that rule, 33 are not decided, and none is called anything else (`benchmarks/icl_vs_gd_verdicts.py`, 32
tasks). The bounds were set on nine other models; `AS_LITTLE`, and that a small distance is not apart, on descent of
all parameters in two of the five: three confirm them.
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
    RIVAL_TITLES,
    RIVALS,
    RULE,
    SHARE,
    TITLES,
    WAY,
    Rule,
)

NEGLIGIBLE = 0.1
"""An accuracy that demonstrations might add at most, where there are tasks enough to say that they add none."""
LEAST_GAIN = 0.03
"""Accuracy must rise by more than that, by the whole interval. Of 114 models that do not learn in context, two rose by
more than 0 above both zero-shot and shuffled labels, at least by .006 and .002, and on other tasks one of 128 did, by
.002; those that do rise by .4 and more."""
ORDER_MATTERS = 0.05
"""Mean total variation between orders, above which it is said: a circuit that copies has .02, from positions alone."""
AS_NEAR = 0.1
"""Answers that are at most so much farther than planted gradient descent are near, in total variation, and those that
are certainly farther are apart."""
AS_MUCH = 0.5
"""The least share of planted gradient descent, in the first layer, of what is called its closest rival."""
AS_LITTLE = 1 / 3
"""The share below which the first layer is said to differ."""

Behaviour = Literal["near", "apart", "unclear"]
Attention = Literal["blind", "no trace", "below", "alike", "unclear"]
Called = Literal[
    "none", "not compared", "not learned", "no trace", "elsewhere", "apart", "rival", "closest", "undecided"
]


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
        if self.beyond_planted.low > AS_NEAR:
            return "apart"
        return "near" if self.beyond_planted.high <= AS_NEAR else "unclear"

    @property
    def attention(self) -> Attention:
        """ "blind" where planted gradient descent itself is not seen. "no trace" only where the first layer has little,
        too: descent on all parameters was seen there, and not over all layers.
        """
        if not self.planted_above.low > 0:
            return "blind"
        seen = self.above_floor.low > 0
        if self.share.high < AS_LITTLE:
            return "below" if seen else "no trace"
        return "alike" if seen and self.share.low >= AS_MUCH else "unclear"


@dataclass(frozen=True)
class Evidence:
    """What a verdict is made of.

    gain:            accuracy in context above zero-shot
    gain_by_labels:  accuracy in context above that with shuffled labels
    order:           total variation between orders of demonstrations that disagree; NaN where it was not measured
    rivals:          total variation from answers in context, of rivals without gradients
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
            number(order.sel(**{WAY: IN_CONTEXT, DEMOS: CONFLICTING}) if order.axes else order),
            tuple(_of_rule(measures, rule) for rule, own in measures[LEARNED].apart().items() if can_be_compared(own)),
            {rival: number(rivals.sel(**{RIVAL: rival})) for rival in rivals.labels(RIVAL)} if rivals.axes else {},
            number(measures[RIVAL_AHEAD]),
        )


def can_be_compared(learned: Measure) -> bool:
    """Whether a rule's accuracy has an interval: one that only one of several seeds has says nothing of the others."""
    return bool(np.isfinite(learned.interval).all())


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
    rival:      how near the nearest rival without gradients is; empty where none was compared, or nothing is learned
    tried:      the rules that could be compared, where there is in-context learning to explain
    compared:   those of them that learn the demonstrations
    """

    called: Called
    rule: Rule | None
    sentences: tuple[str, ...]
    rival: str = ""
    tried: tuple[Rule, ...] = ()
    compared: tuple[Rule, ...] = ()


def verdict(evidence: Evidence) -> Verdict:
    """What these tasks say."""
    gains = evidence.gain, evidence.gain_by_labels
    if any(np.isnan(gain.low) for gain in gains):
        return Verdict("undecided", None, ("These tasks do not decide: accuracy has no interval.",))
    if any(gain.low <= LEAST_GAIN for gain in gains):
        return Verdict("none", None, (NO_LEARNING if open_gain(gains) is None else TOO_FEW, _why_none(evidence)))
    rival = _of_rivals(evidence)
    if not evidence.rules:
        return Verdict("not compared", None, (NOTHING_COMPARED,), rival)
    tried: tuple[Rule, ...] = tuple(one.rule for one in evidence.rules)
    learners = [one for one in evidence.rules if one.learns]
    others = tuple(_not_learned(one) for one in evidence.rules if not one.learns)
    if not learners:
        said = f"{capital(_either(evidence.rules))} from this checkpoint does not learn these tasks."
        return Verdict("not learned", None, (said, *others), rival, tried)
    called, rule = _called(evidence, learners)
    found = [_headline(called, rule, learners, evidence), *others]
    found += [sentence for one in learners for sentence in (_by_answers(one), _by_attention(one))]
    compared: tuple[Rule, ...] = tuple(one.rule for one in learners)
    return Verdict(called, rule, (*found, *_of_order(evidence)), rival, tried, compared)


def _called(evidence: Evidence, learners: Sequence[OfRule]) -> tuple[Called, Rule | None]:
    """Answers do not say which of two rules it is: both learn the labels. The clearly larger contrast names one.

    A rival is named only where answers are not those of a rule: whatever is always right has the right answers, too.
    """
    attention = {one.attention for one in learners}
    if attention == {"no trace"}:
        return "no trace", None
    if attention <= {"no trace", "below"}:
        return "elsewhere", None
    if all(one.behaviour == "apart" for one in learners):
        return "rival" if evidence.rival_ahead.low > 0 else "apart", None
    ahead = max(learners, key=lambda one: one.above_floor.low)
    others = [one.above_floor.high for one in learners if one is not ahead]
    if (ahead.behaviour, ahead.attention) == ("near", "alike") and ahead.above_floor.low > max(others, default=-np.inf):
        return "closest", ahead.rule
    return "undecided", None


NO_LEARNING = "mesascope finds no in-context learning of the rule on these tasks, so there is nothing to explain."
TOO_FEW = "mesascope finds no in-context learning of the rule on these tasks, but they are too few to exclude it."


def open_gain(gains: Sequence[Number]) -> int | None:
    """The place of the first gain that is not clear, where none of those is known to be negligible."""
    unclear = [place for place, gain in enumerate(gains) if gain.low <= LEAST_GAIN]
    return unclear[0] if unclear and all(gains[place].high > NEGLIGIBLE for place in unclear) else None


NOTHING_COMPARED = "The model learns these tasks in context, but no rule of gradient descent could be compared with it."


def _headline(called: Called, rule: Rule | None, learners: Sequence[OfRule], evidence: Evidence) -> str:
    either = _either(learners)
    said: dict[Called, str] = {
        "no trace": f"Attention shows no trace of {either}: labels act on it in another way.",
        "elsewhere": f"In the first layer, labels do not act on attention as {either} does.",
        "apart": f"The model's answers in context are not those of {either}.",
        "undecided": f"These tasks do not decide whether the model learns in context as {either} does.",
    }
    if called == "rival":
        return f"Closest of these rivals: {_nearest_rival(evidence)}, not {either}."
    if rule is None:
        return said[called]
    if evidence.rival_ahead.low > 0:
        return f"Closest rule: {TITLES[rule]}. But the answers by {_nearest_rival(evidence)} are nearer."
    return f"Closest of these rivals: {TITLES[rule]}."


def _why_none(evidence: Evidence) -> str:
    if evidence.gain.low <= LEAST_GAIN:
        return f"Demonstrations do not clearly raise accuracy above zero-shot: difference {evidence.gain}."
    return (
        f"Demonstrations raise accuracy by {evidence.gain}. Shuffling their labels makes no clear difference:"
        f" {evidence.gain_by_labels}."
    )


def _not_learned(one: OfRule) -> str:
    return f"{capital(TITLES[one.rule])} does not raise accuracy above zero-shot: difference {one.learned}."


def _by_answers(one: OfRule) -> str:
    rule = TITLES[one.rule]
    if one.behaviour == "near":
        return f"Answers in context are about as near to {rule} as other runs of it: total variation {one.distance}."
    if one.behaviour == "apart":
        beyond = f"by {one.beyond_planted} in total variation"
        return f"Answers in context are farther from {rule} than other runs of it, {beyond}."
    beyond = f"difference {one.beyond_planted} in total variation"
    if one.beyond_planted.low > 0:
        return f"Answers in context are farther from {rule} than other runs of it, but perhaps not by much: {beyond}."
    return f"Answers in context may be as near to {rule} as other runs of it: {beyond}."


def _by_attention(one: OfRule) -> str:
    rule = TITLES[one.rule]
    contrast = f"label-swap contrast with {rule}"
    if one.attention == "blind":
        return f"The label-swap contrast cannot tell on these tasks: it does not detect even another run of {rule}."
    if one.attention == "no trace":
        seen = f"that of another run of it does, by {one.planted_above}"
        return f"The {contrast} does not exceed its floor: difference {one.above_floor}; {seen}."
    if one.attention == "below":
        return f"In the first layer the {contrast} is only {one.share} of that of another run of it."
    if one.attention == "alike":
        return f"In the first layer the {contrast} reaches {one.share} of that of another run of it."
    exceeds = "exceeds its floor by" if one.above_floor.low > 0 else "may exceed its floor: difference"
    above = f"The {contrast} {exceeds} {one.above_floor}."
    if np.isnan(one.share.low):
        return f"{above} In the first layer it cannot be compared with that of another run."
    return f"{above} In the first layer it is {one.share} of that of another run, which decides nothing."


def _of_rivals(evidence: Evidence) -> str:
    if not evidence.rivals:
        return ""
    ahead, rival = evidence.rival_ahead, _nearest_rival(evidence)
    if np.isnan(ahead.low):
        distance = min(evidence.rivals.values(), key=lambda own: own.value)
        return f"The nearest rival without gradients is {rival}: total variation {distance}."
    if ahead.low > 0:
        return f"Nearer to answers in context than any gradient descent is {rival}, by {ahead} in total variation."
    if ahead.high < 0:
        return f"The nearest rival without gradients is {rival}, farther by {_turned(ahead)} in total variation."
    return f"The nearest rival without gradients is {rival}, about as near: difference {ahead}."


def _of_order(evidence: Evidence) -> tuple[str, ...]:
    if not evidence.order.low > ORDER_MATTERS:
        return ()
    return (
        f"The order of demonstrations that disagree matters: total variation {evidence.order}. So it is not full-batch"
        " gradient descent exactly.",
    )


def _nearest_rival(evidence: Evidence) -> str:
    name = min(evidence.rivals, key=lambda rival: evidence.rivals[rival].value)
    return RIVAL_TITLES.get(name, name)


def _either(rules: Sequence[OfRule]) -> str:
    return " or ".join(TITLES[one.rule] for one in rules)


def _turned(difference: Number) -> Number:
    return Number(-difference.value, -difference.high, -difference.low)


def capital(words: str) -> str:
    """With a capital letter."""
    return words[0].upper() + words[1:]
