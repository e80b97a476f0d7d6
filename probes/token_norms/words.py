"""How the card writes numbers: as many decimals as tell the ends of an interval apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..measure import Measure

DECIMALS = (2, 3)
"""Of factors and correlations: two, or three where the ends of the interval look the same with two."""


@dataclass(frozen=True)
class Number:
    """An estimate with its 95 % interval, NaN where there is none."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, measure: Measure) -> Number:
        """That of a measure without axes."""
        return cls(measure.estimate, *(float(bound) for bound in measure.interval))

    @property
    def has_interval(self) -> bool:
        return not np.isnan(self.low)

    @property
    def size(self) -> tuple[float, float]:
        """The interval of the absolute value."""
        ends = sorted((abs(self.low), abs(self.high)))
        return (0.0 if self.low <= 0 <= self.high else ends[0]), ends[1]

    def __str__(self) -> str:
        return decimal(self.value, self._decimals)

    def interval(self, name: str = "", and_p: str = "") -> str:
        """` (95 % CI 2.44 to 2.46)` where the name is "95 % CI "; nothing where there is no interval and no p."""
        ends = [f"{name}{decimal(self.low, self._decimals)} to {decimal(self.high, self._decimals)}"]
        words = ends * self.has_interval + [and_p] * bool(and_p)
        return f" ({', '.join(words)})" if words else ""

    @property
    def _decimals(self) -> int:
        apart = (n for n in DECIMALS if decimal(self.low, n) != decimal(self.high, n))
        return next(apart, DECIMALS[0])


def decimal(value: float, decimals: int = DECIMALS[0]) -> str:
    """So many decimals; no minus before a zero."""
    return f"{round(value, decimals) + 0.0:.{decimals}f}"


def from_to(samples: np.ndarray) -> str:
    """`1.28 to 1.39`: the smallest and the largest; one number where they look the same."""
    low, high = decimal(float(samples.min())), decimal(float(samples.max()))
    return low if low == high else f"{low} to {high}"


def span(layers: Sequence[int]) -> str:
    """`layer 3`, `layers 3–11`, or `5 layers` where others lie between them."""
    if len(layers) == 1:
        return f"layer {layers[0]}"
    if layers[-1] - layers[0] + 1 == len(layers):
        return f"layers {layers[0]}–{layers[-1]}"
    return f"{len(layers)} layers"
