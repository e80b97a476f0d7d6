"""From means to measures: what a quantity is, said once, and the one builder that puts numbers to it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from ..measure import Measure, missing
from ..statistics.bootstrap import percentile_interval
from .accumulator import Means
from .text import Text

NO_UNTRAINED = "no untrained model was measured beside it"
SAMPLE_ONLY = "no untrained model read the whole text"
NO_TOKEN = "the text has no token to measure it on"
WEIGHTS_ALONE = "a function of the weights alone: nothing was resampled"


@dataclass(frozen=True)
class Quantity:
    """What a measure says of itself, whatever its numbers.

    axes, coords:  as in `Measure`
    message:       what a reader must know
    why_missing:   why some or all of its numbers may be missing
    """

    unit: str
    axes: tuple[str, ...] = ()
    coords: Mapping[str, tuple[Any, ...]] = field(default_factory=dict)
    message: str = ""
    why_missing: str = NO_TOKEN


@dataclass(frozen=True, eq=False)
class Estimate:
    """Values along the axes of a quantity, and the bounds of their 95 % intervals.

    n_pieces:  pieces of the text that were resampled
    """

    values: np.ndarray
    low: np.ndarray
    high: np.ndarray
    n_pieces: int


def mean_measure(quantity: Quantity, means: Means, text: Text) -> Measure:
    """A measure from means, their axes put in order, with the percentile interval of their resamples."""
    means = means.ordered(quantity.axes)
    return measure_from(quantity, Estimate(means.values, *percentile_interval(means.resampled), means.n_pieces), text)


def measure_from(quantity: Quantity, estimate: Estimate, text: Text) -> Measure:
    """A measure whose message says what was resampled, and why numbers are missing where some are."""
    finite, n = np.isfinite(estimate.values), estimate.n_pieces
    if not finite.any():
        return missing(quantity.unit, "undefined", quantity.why_missing)
    why_missing = "" if finite.all() else f"NaN where {quantity.why_missing}"
    interval_note = text.interval_note if n > 1 else f"no interval: there is only one {text.replicate} to resample"
    has_interval = finite & (n > 1)
    return Measure(
        np.where(finite, estimate.values, np.nan),
        quantity.unit,
        (np.where(has_interval, estimate.low, np.nan), np.where(has_interval, estimate.high, np.nan)),
        replicate=text.replicate,
        n=text.n_replicates if n == text.n_pieces else n,
        axes=quantity.axes,
        coords=quantity.coords,
        no_nulls=SAMPLE_ONLY,
        message="; ".join(filter(None, (quantity.message, why_missing, interval_note))),
    )
