"""Fitted settings of rules, as measures."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ..algorithms.fitting import Fit, mean_fit
from ..measure import Measure, missing

NO_NULLS = "a setting of a rule, not a property of the model"
AT_END = "at an end of the range that was searched"
NOT_FINITE = "no setting is closest: a prediction is not finite"


def fitted_setting(unit: str, fits: Sequence[Fit]) -> Measure:
    """The mean over folds of one setting, with its interval over tuning tasks."""
    fit = mean_fit(fits)
    if np.isnan(fit.value):
        return missing(unit, "undefined", NOT_FINITE)
    return Measure(
        np.array(fit.value),
        unit,
        (np.array(fit.low), np.array(fit.high)),
        replicate="task",
        n=fit.n,
        no_nulls=NO_NULLS,
        message=AT_END if fit.at_end else "no curvature there, so no interval" if np.isnan(fit.low) else "",
    )
