"""How much of each eigendirection of its context has a model learned? Its spectral filter (Lo Gerfo et al. 2008)

Gradient descent, GD++, Newton's method, ridge regression and least squares all weigh the directions of a context's
inputs by a function g of their eigenvalues, and differ in that function alone. So g is measured without a formula, and
one plot shows which of them a model resembles: after how many steps, at which penalty, of which degree. What no
function g explains is no spectral filter at all: preconditioning, softmax, copying.

The line of a measurement: `learned` (the weights of every layer as `modes`, untrained models' too) -> `fits` (named
filters) -> `shares` (of `curve`, `polynomials` and fits, with resamples) -> `filter_measures` and `rule_measures` ->
`standing` -> `claim` and `figures`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ...models.subject import Regressor, Source, Subject
from ..findings import Findings
from ..measure import Claim, Measure, Status, missing
from ..probe import Cost, Progress, silent
from ..regression.examined import Examined
from ..regression.probe import RegressionProbe
from ..regression.reading_measures import reading_measures
from ..regression.sign import sign_measure
from .claim import filter_claim
from .filter_measures import filter_measures, not_linear_measure
from .fits import RuleFit, fit_layer
from .learned import Learned, learned
from .memory import cost, memory_in_bytes
from .names import UNTRAINED
from .rule_measures import rule_measures
from .shares import edges_for, left_by_curve, shares_of

NOT_FINITE = "the model's weights on these tasks are not finite"


@dataclass(frozen=True)
class SpectralFilter(RegressionProbe):
    """Settings of the tasks and of how the model is read: those of `RegressionProbe`."""

    name: ClassVar[str] = "spectral-filter"
    version: ClassVar[str] = "1"
    by_default: ClassVar[bool] = False

    def memory(self, subject: Subject) -> int | None:
        return memory_in_bytes(subject, self._tasks_in_bytes(subject)) if isinstance(subject, Regressor) else None

    def cost(self, subject: Subject, batch_size: int) -> Cost | None:
        if not isinstance(subject, Regressor):
            return None
        return cost(subject, self._tasks_in_bytes(subject), self._n_context(subject), batch_size)

    def measure(self, subject: Subject, seed: int, batch_size: int, progress: Progress = silent) -> Findings:
        progress("drawing tasks", 0.0)
        examined = self.examined(subject, seed, batch_size)
        held = learned(examined, lambda done: progress("reading weights", 0.2 * done))
        measures, arrays = _measured(examined, held, progress)
        signs = {UNTRAINED: [model.sign for model, _ in held.untrained]} if held.untrained else {}
        measures["readout_sign"] = sign_measure(examined.sign, signs, given=self.sign is not None)
        measures |= reading_measures(examined.reading, {}, examined.requested_layout is not None, seed)
        progress("done", 1.0)
        return Findings(measures, arrays, examined.splits.recipes)

    def claim(self, measures: Mapping[str, Measure], sources: tuple[Source, ...]) -> Claim:
        return filter_claim(measures, sources, self.tasks, self.sign)


def _measured(
    examined: Examined, held: Learned, progress: Progress
) -> tuple[dict[str, Measure], dict[str, np.ndarray]]:
    """Measures, and the numbers behind them."""
    if held.missing or not held.finite:
        return _nothing(held.missing or NOT_FINITE, "not applicable" if held.missing else "undefined"), {}
    tuning = [fold.tuning for fold in held.folds]
    fits: list[list[RuleFit]] = []
    for layer, least in enumerate(left_by_curve(tuning, edges_for(held))):
        fits.append(fit_layer(layer, tuning, float(least)))
        progress("fitting filters", 0.2 + 0.6 * (layer + 1) / held.n_layers)
    by_rule = list(zip(*fits, strict=True))
    shares = shares_of(held, by_rule, examined.seed)
    progress("comparing", 0.9)
    measures = filter_measures(held, shares) | rule_measures(held, shares, by_rule, examined.splits.law)
    measures["not_linear_share"] = not_linear_measure(examined, held, examined.seed)
    eigenvalues = np.concatenate([fold.judged.eigenvalues.numpy() for fold in held.folds])
    return measures, {"eigenvalues": eigenvalues}


def _nothing(why: str, status: Status) -> dict[str, Measure]:
    names = ("response", "eigenvalue", "off_filter_share", "polynomial_degree", "unexplained_share", "further_share")
    return {name: missing("1", status, why) for name in names}
