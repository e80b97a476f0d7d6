"""Which named filter each layer has, and whether it has one at all. Read off the measures alone."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np

from ..algorithms.filtered import GDPP, GRADIENT_DESCENT, LEAST_SQUARES, Filtered
from ..comparing.by_candidate import CANDIDATE
from ..comparing.numbers import Number, number, rounded
from ..comparing.verdicts import AGREES, NOTHING
from ..measure import Measure
from .names import KIND, LAYER, OF_THE_CURVE, RULES, SAME, UNTRAINED

Called = Literal["named", "unnamed", "untrained alike", "partly", "none", "not linear", "empty"]
SYMBOLS = {"gamma": "γ", "initial scale": "α"}
FAMILIES = {family.name: family for family in RULES}


@dataclass(frozen=True)
class Standing:
    """Of one layer, of one checkpoint or of several seeds at the same step.

    called:  named            a filter, and a named one is as good as any
             unnamed          a filter, but every named one leaves more
             untrained alike  a filter, as some untrained model's is
             partly           more than 10 % of E|W|² is no filter; none: more than 50 %
             not linear       the answers are not W x_q
             empty            W is 0
    """

    measures: Mapping[str, Measure]
    layer: int

    @property
    def off(self) -> Number:
        """What no filter explains."""
        return number(self._here("off_filter_share"))

    def share(self, name: str) -> Number:
        """What a named filter leaves unexplained."""
        return number(self.of("unexplained_share", name))

    def of(self, metric: str, name: str) -> Measure:
        """A measure of one named filter."""
        measure = self.measures[metric].sel(**{CANDIDATE: name})
        return measure.at(layer=self.layer) if LAYER in measure.axes else measure

    def has(self, metric: str, name: str) -> bool:
        measure = self.measures.get(metric)
        return measure is not None and CANDIDATE in measure.axes and name in measure.labels(CANDIDATE)

    def _here(self, metric: str) -> Measure:
        measure = self.measures[metric]
        return measure.at(layer=self.layer) if LAYER in measure.axes else measure

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The named filters, the closest first."""
        every = [name for name in FAMILIES if np.isfinite(self.share(name).value)]
        return tuple(sorted(every, key=lambda name: self.share(name).value))

    @cached_property
    def equals(self) -> tuple[str, ...]:
        """The closest, and those that are as close: next to no gap, or no sure one and as good as the free curve."""
        return tuple(name for name in self.names if self._equal(name))

    def _equal(self, name: str) -> bool:
        share = self.share(name).value
        if share <= self.share(self.names[0]).value + SAME:
            return True
        return share <= self.off.value + OF_THE_CURVE and not number(self.of("further_share", name)).low > 0

    @cached_property
    def rule(self) -> str:
        """Of the equals the one with the fewest fitted settings."""
        return min(self.equals, key=lambda name: (self.settings(name), list(FAMILIES).index(name)))

    @property
    def alike(self) -> tuple[str, ...]:
        """Equals that say something else. Least squares is the limit of all others, and GD++ of as many steps contains
        gradient descent.
        """
        if self.rule == LEAST_SQUARES.name:
            return ()
        same_steps = self.rule == GRADIENT_DESCENT.name and self.steps(self.rule) == self.steps(GDPP.name)
        return tuple(name for name in self.equals if name != self.rule and not (name == GDPP.name and same_steps))

    @property
    def next(self) -> str | None:
        """The closest that is not equal."""
        return next((name for name in self.names if name not in self.equals), None)

    def settings(self, name: str) -> int:
        """How many numbers were fitted; one step of gradient descent has its rate alone."""
        return len(FAMILIES[name].settings) + (self.steps(name) not in ((), (1,)))

    def steps(self, name: str) -> tuple[int, ...]:
        """Those of all seeds, fewest first; none of a filter without steps."""
        if not self.has("steps", name):
            return ()
        found = self.of("steps", name)
        counts = np.unique(found.values if found.points is None else found.points)
        return tuple(int(count) for count in counts[np.isfinite(counts)])

    @cached_property
    def called(self) -> Called:
        if not np.isfinite(self.off.value) or not self.names:
            return "empty"
        if _high(self.not_linear) > AGREES:
            return "not linear"
        if _high(self.off) > AGREES:
            return "none" if self.off.value > NOTHING else "partly"
        if self.share(self.names[0]).value - self.off.value > OF_THE_CURVE:
            return "unnamed"
        alike = self.untrained is not None and bool((self.untrained <= AGREES).any())
        return "untrained alike" if alike else "named"

    @property
    def not_linear(self) -> Number:
        """Of the answers, which the last layer gives; of others it is not known."""
        last = self.layer == n_layers(self.measures) - 1
        return number(self.measures["not_linear_share"]) if last else Number(0.0, 0.0, 0.0)

    @property
    def untrained(self) -> np.ndarray | None:
        """What no filter explains of untrained models."""
        return self._here("off_filter_share").nulls.get(UNTRAINED)

    @property
    def time(self) -> float:
        """η T of gradient descent."""
        return self._here("gradient_time").estimate

    def degree(self, kind: str) -> int | None:
        """As a polynomial; of several seeds the largest, and None where one has none."""
        degrees = self.measures["polynomial_degree"].sel(**{KIND: kind})
        here = degrees.at(layer=self.layer) if LAYER in degrees.axes else degrees
        found = here.values if here.points is None else here.points
        return int(found.max()) if np.isfinite(found).all() else None

    @staticmethod
    def family(name: str) -> Filtered:
        return FAMILIES[name]

    def title(self, name: str, settings: bool = False) -> str:
        """In a sentence: "2 steps of gradient descent (learning rate 3.10)"."""
        family, steps = FAMILIES[name], self.steps(name)
        words = family.title(*steps) if len(steps) == 1 else family.words
        if len(steps) > 1:
            words = f"{steps[0]} to {steps[-1]} {family.noun}s of {family.words}"
        if not settings or not family.settings:
            return words
        kinds = [one.name for one in reversed(family.settings)]  # the learning rate first
        held = (f"{SYMBOLS.get(kind, kind)} {rounded(self.setting(name, kind))}" for kind in kinds)
        return f"{words} ({', '.join(held)})"

    def titles(self, names: tuple[str, ...]) -> str:
        """ "a, b and c"; empty where there are none."""
        *first, last = map(self.title, names) if names else [""]
        return f"{', '.join(first)} and {last}" if first else last

    def setting(self, name: str, kind: str) -> float:
        return self.of(kind.replace(" ", "_"), name).estimate

    @property
    def small_steps(self) -> bool:
        """Whether gradient descent of any more steps is as close: only η T is known."""
        steps = self.of("steps", GRADIENT_DESCENT.name)
        return steps.points is None and float(steps.interval[1]) >= FAMILIES[GRADIENT_DESCENT.name].tried[-1]


def _high(share: Number) -> float:
    return share.value if np.isnan(share.high) else share.high


def n_layers(measures: Mapping[str, Measure]) -> int:
    shares = measures["off_filter_share"]
    return len(shares.labels(LAYER)) if LAYER in shares.axes else 1


def standings(measures: Mapping[str, Measure]) -> list[Standing]:
    """Of every layer; the last one's is that of the output. None where nothing was measured."""
    if "not_linear_share" not in measures:
        return []
    return [Standing(measures, layer) for layer in range(n_layers(measures))]
