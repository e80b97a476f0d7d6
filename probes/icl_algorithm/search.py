"""One family's best member: how many steps, found on all tuning tasks, and the other settings, on each fold's own."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..algorithms.contexts import Contexts
from ..algorithms.families import Family, Fitted, Predictions
from ..algorithms.step_search import best_steps, search_steps
from ..comparing.behaviour import prediction_difference
from ..comparing.unexplained import variation
from .names import EQUAL

SEARCHED_TASKS = 300
"""Of each fold, where two settings are fitted for every number of steps that is tried."""
Shown = tuple[Contexts, Predictions]
"""Tuning tasks of one fold, and what the model predicts there."""


@dataclass(frozen=True)
class Entry:
    """A family in the contest.

    fits:   its best member, one a fold
    steps:  how many steps that takes; the fewest and the most that do as well on the tuning tasks
    """

    family: Family
    fits: tuple[Fitted, ...]
    steps: tuple[int, int, int]

    @property
    def title(self) -> str:
        return self.family.title(self.steps[0])


def enter(family: Family, folds: Sequence[Shown]) -> Entry:
    """The best member of a family for what the model predicts."""
    search = _Search(family, folds)
    steps = search.best() if family.tried else 0
    fits = tuple(family.fit(contexts, predictions, steps) for contexts, predictions in folds)
    return Entry(family, fits, (steps, *search.as_good(steps)) if family.tried else (0, 0, 0))


class _Search:
    """Numbers of steps that were tried, and how far from the model each is."""

    def __init__(self, family: Family, folds: Sequence[Shown]) -> None:
        most = SEARCHED_TASKS if family.free > 1 else max(len(shown) for _, shown in folds)
        self._family = family
        self._folds = [(contexts.first(most), shown[:most]) for contexts, shown in folds]
        self._shares: dict[int, float] = {}

    def best(self) -> int:
        """The number of steps with the least mean squared difference, also between those that are tried first."""
        return best_steps(search_steps(self._family.tried, self._square))

    def as_good(self, best: int) -> tuple[int, int]:
        """The fewest and the most steps tried that are equal to the best."""
        good = [steps for steps, share in self._shares.items() if share <= self._shares[best] + EQUAL] or [best]
        return min(good), max(good)

    def _square(self, steps: int) -> float:
        """The mean squared difference at so many steps; the share that they leave is noted."""
        gaps, shares = [], []
        for contexts, shown in self._folds:
            found = self._family.predict(contexts, self._family.fit(contexts, shown, steps))
            gaps.append(float((found - shown).square().sum(dim=1).mean()))
            own = float(variation(shown).mean())
            shares.append(float(prediction_difference(found, shown).mean()) / own if own > 0 else np.nan)
        self._shares[steps] = float(np.mean(shares))
        mean = float(np.mean(gaps))
        return mean if np.isfinite(mean) else np.inf
