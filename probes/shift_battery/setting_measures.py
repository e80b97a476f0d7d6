"""The settings at which rules were frozen."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..algorithms.fitting import mean_fit
from ..comparing.by_candidate import CANDIDATE
from ..measure import Measure, along, missing, without_interval
from .names import BAYES, GD_MEAN
from .rules import Frozen

NO_NULLS = "a setting of a rule, not a property of the model"
AT_END = "at an end of the range that was searched"
GIVEN = "from the law of training, not fitted"
NOT_FINITE = "no setting is closest: a prediction is not finite"


def setting_measures(frozen: Mapping[str, Frozen]) -> dict[str, Measure]:
    """`steps`, and one measure for each kind of setting, by rule."""
    held = {name: rule for name, rule in frozen.items() if name != GD_MEAN}
    counted = {name: rule.fits[0].steps for name, rule in held.items() if rule.fits[0].steps}
    found = {"steps": along(CANDIDATE, {name: _count(steps) for name, steps in counted.items()})}
    for kind in dict.fromkeys(kind for rule in held.values() for kind in rule.fits[0].values):
        parts = {name: _setting(name, kind, rule) for name, rule in held.items() if kind in rule.fits[0].values}
        found[kind.replace(" ", "_")] = along(CANDIDATE, parts)
    return found


def _count(steps: int) -> Measure:
    return without_interval(np.array(float(steps)), "step", message="searched on tuning tasks", no_nulls=NO_NULLS)


def _setting(name: str, kind: str, rule: Frozen) -> Measure:
    fit = mean_fit([fitted.values[kind] for fitted in rule.fits])
    if np.isnan(fit.value):
        return missing(kind, "undefined", NOT_FINITE)
    if name == BAYES:
        return without_interval(np.array(fit.value), kind, message=GIVEN, no_nulls=NO_NULLS)
    return Measure(
        np.array(fit.value),
        kind,
        (np.array(fit.low), np.array(fit.high)),
        replicate="task",
        n=fit.n,
        no_nulls=NO_NULLS,
        message=AT_END if fit.at_end else "no curvature there, so no interval" if np.isnan(fit.low) else "",
    )
