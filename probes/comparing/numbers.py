"""Estimates with their intervals, as sentences say them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..measure import Measure

NEXT_TO_ZERO = 1e-6
"""A number whose whole interval is below this has no digits to show: candidates that give the same predictions."""


@dataclass(frozen=True)
class Number:
    """An estimate with its 95 % interval, NaN where there is none."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        if np.isnan(self.low):
            return rounded(self.value)
        if max(abs(self.low), abs(self.high)) < NEXT_TO_ZERO:
            return f"less than {NEXT_TO_ZERO:f}"
        decimals = _decimals(max(abs(self.value), self.high - self.low))
        value, low, high = (f"{number:.{decimals}f}" for number in (self.value, self.low, self.high))
        return f"{value} (95 % CI {low} to {high})"


def rounded(value: float) -> str:
    """Three significant digits, zeros included."""
    return f"{value:.{_decimals(abs(value))}f}"


def _decimals(size: float) -> int:
    """After the point, so that a number of this size shows three significant digits."""
    return min(max(2 - int(np.floor(np.log10(size))), 0), 9) if size > 0 else 2


def number(measure: Measure) -> Number:
    """That of a measure without axes."""
    return Number(measure.estimate, *(float(bound) for bound in measure.interval))
