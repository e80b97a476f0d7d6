"""Measures of the candidates' settings, with the interval in which they would move on other tuning tasks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..algorithms.fitting import Fit, mean_fit
from ..comparing.by_candidate import CANDIDATE
from ..comparing.settings import AT_END
from ..measure import Measure, along, missing
from .names import GAUSS_NEWTON
from .setup import Fitted

RATE, LENGTH = "1 / squared probability", "share of the step"
NO_NULLS = "a setting of a candidate, not a property of the model"
GIVEN = "given, not fitted"


def setting_measures(fitted: Sequence[Fitted]) -> dict[str, Measure]:
    """`learning_rate` of the candidates that step, the factor of the copy, sharpness and factor of the smoother."""
    rates = {name: _rate(fitted, name) for name in fitted[0].settings.rates}
    return {
        "learning_rate": along(CANDIDATE, rates),
        "copy_factor": _setting([one.settings.copy for one in fitted], "score / probability"),
        "smoother_sharpness": _setting([one.smoother.sharpness for one in fitted], "1 / squared input"),
        "smoother_factor": _setting([one.smoother.factor for one in fitted], "score / probability"),
    }


def _rate(fitted: Sequence[Fitted], name: str) -> Measure:
    unit = LENGTH if name == GAUSS_NEWTON.name else RATE
    return _setting([one.settings.rates[name] for one in fitted], unit)


def _setting(fits: Sequence[Fit], unit: str) -> Measure:
    """Over the folds."""
    fit = fits[0] if len(fits) == 1 else mean_fit(fits)
    if np.isnan(fit.value):
        return missing(unit, "undefined", "no setting is closest: predictions are not finite")
    message = GIVEN if fit.given else AT_END * fit.at_end
    without = not np.isfinite([fit.low, fit.high]).all()
    if without and not message:
        message = "no interval: the fit hardly depends on it"
    bounds = (np.nan, np.nan) if without else (fit.low, fit.high)
    return Measure(
        np.array(fit.value),
        unit,
        (np.array(bounds[0]), np.array(bounds[1])),
        replicate="none" if fit.given else "task",
        n=fit.n,
        no_nulls=NO_NULLS,
        message=message,
    )
