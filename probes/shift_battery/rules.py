"""Rules whose settings are fixed on tasks as in training, and what they answer on others.

A layer of linear attention has no 1/N: with fixed weights it sums over the pairs that it is given, so on M pairs its
step is M/N times as large. Frozen descent does the same: η/N of training for each pair, N that of training. "GD, mean
over pairs" is the other convention, η/M; the two differ on other lengths alone. A penalty and GD++'s γ are for sums
anyway.

A memorised prior is Bayes' rule under the law of training: teachers w ~ N(0, τ² I) and noise σ², whatever the tasks at
hand look like. That is ridge regression with the penalty σ²/τ², which nobody fitted. Where training had no noise it is
least squares of minimum norm, and there is no rule of this name.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ...data.regression import LinearRegression
from ..algorithms import copying, filtered
from ..algorithms.contexts import Contexts
from ..algorithms.families import Family, Fitted, Predictions
from ..algorithms.fitting import given
from ..algorithms.preconditioned import ONE_STEP
from ..algorithms.step_search import best_steps, search_steps
from .names import BAYES, GD, GD_MEAN, GDPP, LEAST_SQUARES, PRECONDITIONED, RIDGE, ZERO

FAMILIES: dict[str, Family] = {
    GD: filtered.GRADIENT_DESCENT,
    PRECONDITIONED: ONE_STEP,
    GDPP: filtered.GDPP,
    RIDGE: filtered.RIDGE,
    LEAST_SQUARES: filtered.LEAST_SQUARES,
    ZERO: copying.ZERO,
}
"""Those that are fitted to the model, or have nothing to fit."""
SEARCHED_TASKS = 300
"""Of each fold, on which numbers of steps are tried."""
Shown = tuple[Contexts, Predictions]
"""Tasks, and what the model predicts there."""


@dataclass(frozen=True)
class Frozen:
    """A rule with its settings.

    fits:    one for each fold
    sums:    whether its step is a sum over pairs at the rate of training, not a mean
    fitted:  whether the model had a say in them
    """

    family: Family
    fits: tuple[Fitted, ...]
    sums: bool = True
    fitted: bool = True

    def answers(self, contexts: Contexts, n_training: int, fold: int = 0) -> Predictions:
        """On tasks of any length, with the settings of training."""
        fitted, times = self.fits[fold], contexts.n_context / n_training
        return self.family.predict(contexts, _faster(fitted, times) if self.sums else fitted)

    def fitted_to(self, shown: Shown) -> Frozen:
        """The same rule, and as many steps, with settings for another model."""
        return replace(self, fits=(self.family.fit(*shown, self.fits[0].steps),)) if self.fitted else self


def _faster(fitted: Fitted, times: float) -> Fitted:
    """At a rate, or with a preconditioner, so many times as large."""
    rate = filtered.RATE.name
    faster = {rate: given(fitted.value(rate) * times)} if rate in fitted.values else {}
    matrix = None if fitted.matrix is None else fitted.matrix * times
    return replace(fitted, values={**fitted.values, **faster}, matrix=matrix)


def freeze(folds: Sequence[Shown], law: LinearRegression | None) -> dict[str, Frozen]:
    """Every rule at its best for what the model predicts on tasks as in training, by name."""
    frozen = {name: Frozen(family, _best(family, folds), fitted=name != ZERO) for name, family in FAMILIES.items()}
    frozen[GD_MEAN] = replace(frozen[GD], sums=False)
    if law is not None and law.noise and law.weight_scale:
        penalty = given((law.noise / law.weight_scale) ** 2)
        frozen[BAYES] = Frozen(filtered.RIDGE, (Fitted(values={"penalty": penalty}),) * len(folds), fitted=False)
    return frozen


def _best(family: Family, folds: Sequence[Shown]) -> tuple[Fitted, ...]:
    """One number of steps for all folds, the other settings of each fold's own."""
    few = [(contexts.first(SEARCHED_TASKS), shown[:SEARCHED_TASKS]) for contexts, shown in folds]

    def gap(steps: int) -> float:
        """Mean squared difference from the model, infinite where it is no number."""
        found = [
            (family.predict(tasks, family.fit(tasks, shown, steps)) - shown).square().mean() for tasks, shown in few
        ]
        mean = float(np.mean(found))
        return mean if np.isfinite(mean) else np.inf

    steps = best_steps(search_steps(family.tried, gap)) if family.tried else 0
    return tuple(family.fit(contexts, shown, steps) for contexts, shown in folds)
