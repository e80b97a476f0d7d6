"""Numbers and lists as the claim, the messages and the limits of induction-heads write them. Without torch."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..findings import Head, head_name
from ..measure import Measure

_NAMED = 4  # heads of one verdict that are listed by name


def joined(*clauses: str) -> str:
    """The clauses that say something, as one message."""
    return "; ".join(filter(None, clauses))


def listed(items: Iterable[str]) -> str:
    """50, 37 and 25"""
    *first, last = items
    return f"{', '.join(first)} and {last}" if first else last


def head_names(heads: Sequence[Head]) -> str:
    """L1H0, L1H2; of many the first few, and how many more."""
    shown = ", ".join(map(head_name, heads[:_NAMED]))
    return shown + f" and {len(heads) - _NAMED} more" * (len(heads) > _NAMED)


def number(value: float, digits: int = 3) -> str:
    """So many digits; what rounding leaves of nothing is 0."""
    return "0" if abs(value) < 5e-4 else f"{value:.{digits}g}"


def with_interval(measure: Measure, unit: str = "") -> str:
    """`5.1 nat (95 % CI 4.9 to 5.3)` of a measure without axes, in so many digits that the ends differ."""
    low, high = (float(bound) for bound in measure.interval)
    digits = next((n for n in range(3, 7) if number(low, n) != number(high, n)), 3)
    interval = "" if np.isnan(low) else f" (95 % CI {number(low, digits)} to {number(high, digits)})"
    return number(measure.estimate, digits) + f" {unit}" * bool(unit) + interval


def spread(values: np.ndarray) -> str:
    """`0.998 to 1`: the lowest and the highest; one number where they look the same."""
    low, high = number(float(np.nanmin(values))), number(float(np.nanmax(values)))
    return low if low == high else f"{low} to {high}"
