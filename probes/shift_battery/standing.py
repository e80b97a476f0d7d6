"""Which rule the model follows under each shift, read off the measures alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from ..comparing.by_candidate import CANDIDATE, OTHER_CANDIDATE
from ..comparing.numbers import Number, number
from ..comparing.verdicts import NOTHING
from ..measure import Measure
from .names import (
    BAYES,
    FOLLOWS,
    GD,
    GD_MEAN,
    GDPP,
    KIND,
    LEAST_SQUARES,
    PRECONDITIONED,
    RIDGE,
    SHIFT,
    SHIFTS,
    SIMPLEST,
    UNTRAINED,
    ZERO,
    Shift,
)

Called = Literal["follows", "not separated", "untrained alike", "closest", "none", "undefined"]
EQUAL, CLEARLY = 0.01, 2 / 3
"""A rule is as close as the closest one where its distance, in standard deviations of the model's answers, is at most
so much larger, or no clear multiple of it."""
WORDS = {
    GD: "gradient descent",
    GD_MEAN: "gradient descent on the mean over pairs",
    GDPP: "GD++",
    PRECONDITIONED: "1 step of preconditioned gradient descent",
    RIDGE: "ridge regression",
    LEAST_SQUARES: "minimum-norm least squares",
    BAYES: "Bayes' rule under the law of training",
    ZERO: "the zero predictor",
}


NO_SHARE = Number(float("nan"), float("nan"), float("nan"))


@dataclass(frozen=True)
class Verdict:
    """Under one shift.

    called:  follows          one rule leaves at most `FOLLOWS` of the variance at every strength
             not separated    several do that are no special case of each other
             untrained alike  one does, and also explains an untrained model
             closest          none does; the closest leaves at most a quarter. none: it leaves more
             undefined        the model's answers do not vary or are not finite, or no rule has a number
    rule:    the one that is named, or the closest
    others:  those that the shift does not separate from it
    share:   what the rule leaves where it is furthest from the model
    """

    shift: Shift
    called: Called
    rule: str = ""
    others: tuple[str, ...] = ()
    share: Number = NO_SHARE


@dataclass(frozen=True)
class Standing:
    """Of one checkpoint, or of several seeds at the same step."""

    measures: Mapping[str, Measure]

    @cached_property
    def verdicts(self) -> tuple[Verdict, ...]:
        """Of the shifts that these tasks can be given."""
        shares = self.measures["worst_unexplained"]
        if SHIFT not in shares.axes:
            return ()
        judged = (shift for shift in SHIFTS if self.measures[f"unexplained_{shift.name}"].status != "not applicable")
        return tuple(self._verdict(shift) for shift in judged)

    def _verdict(self, shift: Shift) -> Verdict:
        shares = {name: self.share(name, shift) for name in self.names}
        shares = {name: share for name, share in shares.items() if np.isfinite(share.value)}
        if not shares:
            return Verdict(shift, "undefined")
        closest = min(shares, key=lambda name: shares[name].value)
        within = [name for name in SIMPLEST if name in shares and shares[name].high <= FOLLOWS]
        if not within:
            called: Called = "none" if shares[closest].low > NOTHING**2 else "closest"
            return Verdict(shift, called, closest, share=shares[closest])
        equals = [name for name in within if _as_close(shares[name].value, shares[closest].value)]
        rule, *others = equals
        rivals = tuple(name for name in others if not self._contains(name, rule))
        called = "not separated" if rivals else "untrained alike" if self._untrained(rule, shift) else "follows"
        return Verdict(shift, called, rule, rivals, shares[rule])

    def _contains(self, name: str, rule: str) -> bool:
        """Whether the rule is a member of another's family."""
        if (name, rule) == (PRECONDITIONED, GD):
            return self.steps(GD) == (1,)
        return (name, rule) in ((GDPP, GD), (RIDGE, LEAST_SQUARES), (RIDGE, BAYES))

    def _untrained(self, rule: str, shift: Shift) -> bool:
        samples = self.measures["worst_unexplained"].sel(**{CANDIDATE: rule, SHIFT: shift.name}).nulls.get(UNTRAINED)
        return samples is not None and bool((samples <= FOLLOWS).any())

    @property
    def names(self) -> tuple[str, ...]:
        return self.measures["worst_unexplained"].labels(CANDIDATE)

    def share(self, rule: str, shift: Shift) -> Number:
        """What a rule leaves under a shift, at the strength where it is furthest from the model."""
        return number(self.measures["worst_unexplained"].sel(**{CANDIDATE: rule, SHIFT: shift.name}))

    def apart(self, rule: str, other: str, shift: Shift) -> Number:
        """How far two rules are from each other under a shift, where they are furthest."""
        return number(
            self.measures["rule_distance"].sel(**{CANDIDATE: rule, OTHER_CANDIDATE: other, SHIFT: shift.name})
        )

    @cached_property
    def followed(self) -> dict[str, tuple[Shift, ...]]:
        """By rule, the shifts under which the model follows it; the rule of most shifts first."""
        found = {rule: tuple(v.shift for v in self.of("follows") if v.rule == rule) for rule in SIMPLEST}
        order = sorted(found, key=lambda rule: -len(found[rule]))
        return {rule: found[rule] for rule in order if found[rule]}

    @property
    def leader(self) -> str | None:
        """The rule that the model follows under most shifts; None where it follows none."""
        return next(iter(self.followed), None)

    @property
    def contrast(self) -> str | None:
        """The rule of the other kind that a reader asks for, where it is followed under no shift, separated or not."""
        other = LEAST_SQUARES if KIND.get(self.leader or "") == "descent" else GD
        near = {name for v in self.of("follows", "untrained alike", "not separated") for name in (v.rule, *v.others)}
        return None if other in near else other

    def of(self, *called: Called) -> list[Verdict]:
        return [verdict for verdict in self.verdicts if verdict.called in called]

    def steps(self, rule: str) -> tuple[int, ...]:
        """Those of all seeds, fewest first; none of a rule without steps."""
        measure, name = self.measures["steps"], GD if rule == GD_MEAN else rule
        if CANDIDATE not in measure.axes or name not in measure.labels(CANDIDATE):
            return ()
        found = measure.sel(**{CANDIDATE: name})
        return tuple(int(count) for count in np.unique(found.values if found.points is None else found.points))

    def title(self, rule: str) -> str:
        """In a sentence: "2 steps of GD++"."""
        steps = self.steps(rule)
        if not steps:
            return WORDS[rule]
        counted = f"{steps[0]}" if len(steps) == 1 else f"{steps[0]} to {steps[-1]}"
        return f"{counted} step{'s' * (steps != (1,))} of {WORDS[rule]}"


def _as_close(share: float, least: float) -> bool:
    far, near = np.sqrt(share), np.sqrt(least)
    return bool(far <= near + EQUAL or near > CLEARLY * far)


def in_words(parts: Sequence[str]) -> str:
    """ "a, b and c"; empty where there are none."""
    *first, last = parts or [""]
    return f"{', '.join(first)} and {last}" if first else last
