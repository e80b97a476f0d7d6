"""The settings at which rules were frozen."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..comparing.by_candidate import CANDIDATE
from ..comparing.settings import NO_NULLS, fitted_setting
from ..measure import Measure, along, without_interval
from .names import BAYES, GD_MEAN
from .rules import Frozen

GIVEN = "from the law of training, not fitted"


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
    fits = [fitted.values[kind] for fitted in rule.fits]
    if name == BAYES:
        return without_interval(np.array(fits[0].value), kind, message=GIVEN, no_nulls=NO_NULLS)
    return fitted_setting(kind, fits)
