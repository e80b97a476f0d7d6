"""Who won: the closest rules, those that are equal, and the simplest of them. Read off the measures alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Literal

import numpy as np

from ..algorithms.families import Family
from ..algorithms.filtered import GDPP, GRADIENT_DESCENT, MOMENTUM_DESCENT
from ..algorithms.preconditioned import ONE_STEP
from ..algorithms.preconditioned_steps import SEVERAL_STEPS
from ..comparing.by_candidate import CANDIDATE, OTHER_CANDIDATE
from ..comparing.ranking import Order, in_order
from ..comparing.settings import AT_END
from ..comparing.verdicts import AGREES
from ..comparing.verdicts import verdict as of_share
from ..measure import Measure
from .names import CLEARLY, EQUAL, FAMILIES, SETTINGS, TASK_SET

Verdict = Literal["agrees", "not separated", "between", "untrained alike", "closest", "none"]
CONTAINING = (SEVERAL_STEPS.name, MOMENTUM_DESCENT.name, GDPP.name)
"""Families of which gradient descent of as many steps is a member."""
WORDS = {family.name: family for family in FAMILIES}
BY_TASK_SET = "Bayes' rule over the given task set"


class Standing(Order):
    """Of one checkpoint, or of several seeds at the same step."""

    @cached_property
    def equals(self) -> tuple[str, ...]:
        """The closest rule, and those that are as close: no sure gap, or one of at most `EQUAL` of the variation."""
        return tuple(name for name in self.names if self._equal(name))

    def _equal(self, name: str) -> bool:
        if name == self.closest:
            return True
        further = self.unexplained(name).value - self.unexplained(self.closest).value
        return further <= EQUAL or not self.gap_between(self.closest, name).low > 0

    @cached_property
    def winner(self) -> str:
        """Of the equals that agree as the closest does, the one with the fewest fitted settings; then the closest."""
        word = of_share(self.unexplained(self.closest))
        named = [name for name in self.equals if of_share(self.unexplained(name)) == word]
        return min(named, key=lambda name: (self.fitted_settings(name), self.names.index(name)))

    @cached_property
    def alike(self) -> tuple[str, ...]:
        """Equals that say the same as the winner on these tasks."""
        return tuple(name for name in self.equals if name != self.winner and self._says_the_same(name))

    def _says_the_same(self, name: str) -> bool:
        """Whether a rule is no further from the winner than the model is, or a percent; or contains it: it is no closer
        to the model, with all that it can do beyond the winner.
        """
        near = max(EQUAL, self.unexplained(self.winner).value)
        return self.between(name, self.winner) <= near or self._contains_winner(name)

    def _contains_winner(self, name: str) -> bool:
        """Whether gradient descent, which won, is a member of this family."""
        if self.winner != GRADIENT_DESCENT.name:
            return False
        same_steps = self.steps(name) == self.steps(self.winner)
        return name == ONE_STEP.name if self.steps(self.winner) == (1,) else name in CONTAINING and same_steps

    @cached_property
    def rivals(self) -> tuple[str, ...]:
        """Equals that say something else."""
        return tuple(name for name in self.equals if name not in (self.winner, *self.alike))

    @property
    def runner_up(self) -> str | None:
        """The closest that is not equal."""
        return next((name for name in self.names if name not in self.equals), None)

    @property
    def other_side(self) -> str | None:
        """The closest that is not equal and says something else: between the two a model may lie."""
        return next((name for name in self.names if name not in self.equals and not self._says_the_same(name)), None)

    @cached_property
    def verdict(self) -> Verdict:
        share = self.unexplained(self.winner)
        word = of_share(share)
        if word != "agrees":
            return word
        if self.rivals:
            return "not separated"
        next_share = np.inf if self.other_side is None else self.unexplained(self.other_side).value
        if share.value > CLEARLY * next_share:
            return "between"
        return "untrained alike" if self._untrained_alike() else "agrees"

    def _untrained_alike(self) -> bool:
        """Whether the rule explains some untrained model, to which it was fitted again, as well."""
        samples = self.of("unexplained_share", self.winner).nulls.get("untrained")
        return samples is not None and bool((samples <= AGREES).any())

    def fitted_settings(self, name: str) -> float:
        return float(self.of("fitted_settings", name).values)

    def between(self, name: str, other: str) -> float:
        """How far two rules are from each other, as a share of the variation of the model's predictions."""
        distances = self.measures["candidate_distance"]
        return float(distances.sel(**{CANDIDATE: name, OTHER_CANDIDATE: other}).values)

    def steps(self, name: str) -> tuple[int, ...]:
        """Those of all seeds, fewest first; none of a rule without steps."""
        measure = self.measures["steps"]
        if name not in measure.labels(CANDIDATE):
            return ()
        found = measure.sel(**{CANDIDATE: name})
        return tuple(int(count) for count in np.unique(found.values if found.points is None else found.points))

    def title(self, name: str) -> str:
        """In a sentence; that a setting lies at an end of its range is said, too."""
        return self._words(name) + " (a setting at its limit)" * self.at_limit(name)

    def _words(self, name: str) -> str:
        """Where the search ended before the steps did, and fewer do as well, their number means nothing."""
        steps = self.steps(name)
        if self.at_most_steps(name) and (fewest := self._fewest(name)) < steps[-1]:
            return f"{fewest} or more {WORDS[name].noun}s of {WORDS[name].words}"
        return title(name, steps)

    def _fewest(self, name: str) -> int:
        """Steps that do as well as the best on the tuning tasks; of several seeds the fewest that are best."""
        found = self.of("steps", name)
        return int(found.interval[0]) if found.points is None else self.steps(name)[0]

    def titles(self, names: Sequence[str]) -> str:
        """ "a, b and c"; empty where there are none."""
        *first, last = map(self.title, names) if names else [""]
        return f"{', '.join(first)} and {last}" if first else last

    def at_limit(self, name: str) -> bool:
        held = [self.measures[kind] for kind in SETTINGS if kind in self.measures]
        parts = [measure.sel(**{CANDIDATE: name}) for measure in held if name in measure.labels(CANDIDATE)]
        return any(AT_END in part.message for part in parts)

    def at_most_steps(self, name: str) -> bool:
        """Whether it takes the most steps that were tried."""
        return name in WORDS and bool(WORDS[name].tried) and self.steps(name)[-1] == WORDS[name].tried[-1]


def title(name: str, steps: tuple[int, ...]) -> str:
    if name == TASK_SET:
        return BY_TASK_SET
    family: Family = WORDS[name]
    if len(steps) < 2:
        return family.title(*steps) if steps else family.words
    return f"{steps[0]} to {steps[-1]} {family.noun}s of {family.words}"


def standing(measures: Mapping[str, Measure]) -> Standing | None:
    """None where nothing can be ranked: the model's predictions are not finite."""
    return in_order(measures, Standing)
