"""An agreement beside its nulls, in a word; and shares as sentences say them."""

from __future__ import annotations

from typing import Literal

import numpy as np

from ..comparing.heads_beside_nulls import ROUNDING
from ..comparing.numbers import Number
from ..measure import Measure

Standing = Literal["above", "below", "not told apart", "cannot tell"]


def share_number(measure: Measure) -> Number:
    """A share without axes. A t-interval over few seeds may reach beyond 0 and 1; it is told as far as these."""
    low, high = (float(np.clip(end, 0, 1)) for end in measure.interval)
    return Number(measure.estimate, low, high)


def standing_of(agreement: Measure) -> Standing | None:
    """By the whole interval and all samples of every null; None where there is no number. The measure has no axes."""
    if agreement.status != "ok" or not agreement.has_number:
        return None
    low, high = (float(end) for end in agreement.interval)
    samples = np.concatenate([np.ravel(null) for null in agreement.nulls.values()] or [np.array([])])
    samples = samples[np.isfinite(samples)]
    if np.isnan(low) or not len(samples):
        return "cannot tell"
    if low > samples.max() + ROUNDING:
        return "above"
    return "below" if high < samples.min() - ROUNDING else "not told apart"
