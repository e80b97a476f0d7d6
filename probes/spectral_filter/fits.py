"""Named filters, each at the settings at which it is closest to the weights of a layer on tuning tasks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from jaxtyping import Float
from torch import Tensor

from ..algorithms.families import Fitted
from ..algorithms.filtered import Filtered
from ..comparing.verdicts import NOTHING
from .modes import Modes
from .names import RULES, SAME

SEARCHED_MODES = {1: 2_000, 2: 1_000}
"""Of the tuning tasks, on which numbers of steps are compared, by how many other settings are free."""
FITTED_MODES = 10_000
"""On which a single setting is fitted, at the number of steps that was found. Two take too long for more tasks."""
FEWEST_TASKS = 10


@dataclass(frozen=True)
class RuleFit:
    """A named filter at its best for one layer.

    fits:   one a fold
    steps:  how many it takes; the fewest and the most that are as close to the tuning tasks' weights. 0 for a filter
            without steps
    """

    family: Filtered
    layer: int
    fits: tuple[Fitted, ...]
    steps: tuple[int, int, int]

    def left(self, fold: int, judged: Modes) -> Float[Tensor, " task"]:
        """The weighed square of what it leaves of the weights."""
        return judged.left_by(self.layer, self.filter(fold, judged))

    def filter(self, fold: int, modes: Modes) -> Float[Tensor, "task rank"]:
        """g(s²), as in `algorithms/filters.py`."""
        return self.family.filter(modes.spectrum.s2, modes.spectrum.n_context, self.fits[fold])


def fit_layer(layer: int, folds: Sequence[Modes], least: float) -> list[RuleFit]:
    """All named filters of one layer, in their order.

    Those with two settings take most of the time. They are tried at the fewest steps alone where there is nothing to
    find: a simpler filter is as close as the free curve, or most of the weights are no filter.

    least:  the share of E|W|² that the free curve leaves of the tuning tasks
    """
    fits = {family.name: fit_rule(family, layer, folds) for family in RULES if family.free < 2}
    simple = min(_share_left(fit, folds) for fit in fits.values())
    nothing_to_find = simple <= least + SAME or least > NOTHING
    for family in RULES:
        if family.name not in fits:
            tried = family.tried[:1] if nothing_to_find else family.tried
            fits[family.name] = fit_rule(replace(family, tried=tried), layer, folds)
    return [fits[family.name] for family in RULES]


def _share_left(fit: RuleFit, folds: Sequence[Modes]) -> float:
    """Of the tuning tasks, by a filter that was fitted to them."""
    left = sum(float(fit.left(number, fold).sum()) for number, fold in enumerate(folds))
    whole = sum(float(fold.energy[fit.layer].sum()) for fold in folds)
    return left / whole if whole > 0 and np.isfinite(left) else np.inf


def fit_rule(family: Filtered, layer: int, folds: Sequence[Modes]) -> RuleFit:
    """Steps are found on the tuning tasks of all folds, the other settings on each fold's own."""
    steps, found = (0, 0, 0), None
    if family.tried:
        search = _Search(family, layer, folds)
        steps = search.steps()
        found = search.fits[steps[0]] if family.free > 1 else None
    if found is None:
        shown = [first_modes(fold, FITTED_MODES) for fold in folds]
        found = tuple(_fitted(family, layer, fold, steps[0]) for fold in shown)
    return RuleFit(family, layer, found, steps)


def first_modes(modes: Modes, n: int) -> Modes:
    """The first tasks, with about so many modes."""
    return modes.first(max(n // modes.importance.shape[1], FEWEST_TASKS))


def _fitted(family: Filtered, layer: int, modes: Modes, steps: int) -> Fitted:
    return family.fit_filter(modes.spectrum, lambda g: modes.left_by(layer, g), steps)


class _Search:
    """Numbers of steps that were tried, with their fits and the share of the weights that each leaves."""

    def __init__(self, family: Filtered, layer: int, folds: Sequence[Modes]) -> None:
        self._family, self._layer = family, layer
        self._folds = [first_modes(fold, SEARCHED_MODES[family.free]) for fold in folds]
        self._left: dict[int, float] = {}
        self.fits: dict[int, tuple[Fitted, ...]] = {}

    def steps(self) -> tuple[int, int, int]:
        """The best number of steps, also between those that are tried first; the fewest and the most as close."""
        self._try(self._family.tried)
        while between := self._between():
            self._try(between)
        best = min(self._left, key=lambda steps: self._left[steps])
        good = [steps for steps, left in self._left.items() if left <= self._left[best] + SAME] or [best]
        return best, min(good), max(good)

    def _try(self, tried: Sequence[int]) -> None:
        for steps in tried:
            self.fits[steps] = tuple(_fitted(self._family, self._layer, modes, steps) for modes in self._folds)
            shares = [self._share(*one) for one in zip(self._folds, self.fits[steps], strict=True)]
            mean = float(np.mean(shares))
            self._left[steps] = mean if np.isfinite(mean) else np.inf

    def _share(self, modes: Modes, fitted: Fitted) -> float:
        """What a member leaves of E|W|²."""
        g = self._family.filter(modes.spectrum.s2, modes.spectrum.n_context, fitted)
        return float(modes.left_by(self._layer, g).mean() / modes.energy[self._layer].mean())

    def _between(self) -> list[int]:
        """Half way from the best number of steps to the next ones tried, on both sides."""
        tried = sorted(self._left)
        place = tried.index(min(tried, key=lambda steps: self._left[steps]))
        beside = tried[max(place - 1, 0) : place] + tried[place + 1 : place + 2]
        return [(tried[place] + other) // 2 for other in beside if abs(other - tried[place]) > 1]
