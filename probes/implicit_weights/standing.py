"""What each layer's model is called, and what the exchange shows. Read off the measures alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np

from ..algorithms.filtered import GDPP, GRADIENT_DESCENT
from ..comparing.numbers import Number, number
from ..comparing.verdicts import AGREES, verdict
from ..measure import Measure
from .names import BOTH, BY_NAME, CONTEXT, EQUAL, LAYER, PLACE, QUERY, RULE, UNTRAINED

Called = Literal["agrees", "closest", "none", "empty"]
FOLLOWED = 0.9
"""Of the answer's change, which descent has to explain where later layers work on from the model."""


@dataclass(frozen=True)
class Named:
    """What the model after one layer is.

    place:    of the layer, from 0
    label:    of the layer along the measures
    called:   agrees: at most 10 % away, with the whole interval; closest: at most 50 %; none: more; empty: no weights
    rule:     of those as near as the nearest (`EQUAL`), the one with the fewest fitted settings
    equals:   the others that are as near
    steps:    how many it takes, the fewest and the most over seeds
    alike:    whether some untrained model is at most 10 % from the same rule
    """

    place: int
    label: Any
    called: Called
    rule: str
    away: Number
    equals: tuple[str, ...] = ()
    steps: tuple[int, int] = (0, 0)
    alike: bool = False


@dataclass(frozen=True)
class Standing:
    """Of one checkpoint, or of several seeds at the same step."""

    measures: Mapping[str, Measure]

    @cached_property
    def layers(self) -> list[Named]:
        return [self._named(place) for place in range(len(self.measures["loss"].labels(LAYER)))]

    @property
    def output(self) -> Named:
        return self.layers[-1]

    def distance(self, rule: str, place: int) -> Measure | None:
        """None where the rule was not fitted."""
        measure = self.measures["weight_distance"].sel(**{RULE: rule})
        if LAYER not in measure.axes:
            return None
        held = measure.at(layer=place)
        return held if held.has_number else None

    def by_distance(self, place: int) -> list[tuple[str, Measure]]:
        """The rules that have a distance at a layer, the nearest first."""
        held = [(name, part) for name in BY_NAME if (part := self.distance(name, place)) is not None]
        return sorted(held, key=lambda pair: pair[1].estimate)

    def _named(self, place: int) -> Named:
        label, order = self.measures["loss"].labels(LAYER)[place], self.by_distance(place)
        if not order:
            return Named(place, label, "empty", "", Number(np.nan, np.nan, np.nan))
        word = verdict(number(order[0][1]))
        near = [
            name
            for name, part in order
            if part.estimate <= order[0][1].estimate + EQUAL and verdict(number(part)) == word
        ]
        rule = min(near, key=lambda name: (self.settings(name), near.index(name)))
        held = dict(order)[rule]
        equals = tuple(name for name in near if name != rule)
        return Named(place, label, word, rule, number(held), equals, self.steps(rule, place), _alike(held))

    def settings(self, rule: str) -> float:
        """How many fitted settings a rule has."""
        return float(self.measures["fitted_settings"].sel(**{RULE: rule}).values)

    def steps(self, rule: str, place: int) -> tuple[int, int]:
        """The fewest and the most over seeds; 0 of a rule without steps."""
        measure = self.measures["steps"]
        if rule not in measure.labels(RULE):
            return (0, 0)
        held = measure.sel(**{RULE: rule}).at(layer=place)
        found = np.atleast_1d(held.values if held.points is None else held.points)
        found = found[np.isfinite(found)]
        return (int(found.min()), int(found.max()))

    def runner_up(self, place: int) -> tuple[str, Measure] | None:
        """The nearest rule that is not as near as the one named."""
        named = self.layers[place]
        return next(
            ((name, part) for name, part in self.by_distance(place) if name not in (named.rule, *named.equals)), None
        )

    @cached_property
    def linearity(self) -> Number:
        """Of the layer whose answer is least linear."""
        measure = self.measures["linearity"]
        if not measure.has_number:
            return Number(np.nan, np.nan, np.nan)
        return number(measure.at(layer=int(np.nanargmin(measure.values))))

    @property
    def linear(self) -> bool:
        """Whether a matrix gives the answers to other queries; where it is not known, too."""
        return not self.linearity.value < 1 - AGREES**2

    @property
    def exchanged(self) -> bool:
        """Whether another task's model was put in, and the answer moved, in the context and in both places."""
        followed = self.measures["exchange_followed"]
        return all(followed.sel(**{PLACE: place}).has_number for place in (CONTEXT, BOTH))

    def followed(self, place: str) -> Measure:
        """At the layer where descent explains least of the change."""
        return _least(self.measures["exchange_followed"].sel(**{PLACE: place}))

    def least_followed(self, place: str) -> int:
        """That layer, from 0."""
        held = self.measures["exchange_followed"].sel(**{PLACE: place})
        return int(held.labels(LAYER)[int(np.nanargmin(held.values))])

    def slope(self) -> Measure | None:
        """At the query, at the layer where it is furthest from 1; None where nothing moved."""
        measure = self.measures["exchange_slope"].sel(**{PLACE: QUERY})
        return None if not measure.has_number else measure.at(layer=int(np.nanargmax(np.abs(measure.values - 1))))

    @property
    def residual(self) -> Measure:
        return _least(self.measures["residual_share"])

    @property
    def works_on(self) -> bool:
        """Whether what later layers make of exchanged residuals is what descent makes of them, unlike any untrained
        model's.
        """
        held = self.followed(CONTEXT)
        low = held.estimate if np.isnan(held.interval[0]) else float(held.interval[0])
        untrained = held.nulls.get(UNTRAINED, np.empty(0))
        return low >= FOLLOWED and not bool((untrained >= FOLLOWED).any()) and self.followed(BOTH).estimate >= FOLLOWED

    @property
    def descent(self) -> str:
        """The descent that later layers are taken for."""
        gamma = self.measures["descent_gamma"]
        return (GDPP if gamma.has_number and gamma.estimate else GRADIENT_DESCENT).words


def _least(measure: Measure) -> Measure:
    return measure.at(layer=int(np.nanargmin(measure.values)))


def _alike(distance: Measure) -> bool:
    untrained = distance.nulls.get(UNTRAINED, np.empty(0))
    return bool((untrained <= AGREES).any())


def steps_title(run: Sequence[Named]) -> str:
    """ "1 to 4 steps of gradient descent", of layers with one rule."""
    family = BY_NAME[run[0].rule]
    fewest, most = min(one.steps[0] for one in run), max(one.steps[1] for one in run)
    if fewest == most or not family.tried:
        return family.title(most)
    return f"{fewest} to {most} {family.noun}s of {family.words}"
