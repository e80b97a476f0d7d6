"""When an accuracy first passes one half, and which passes first.

A seed that never crosses is not left out: its number is known to lie between two ends, of which one may be infinite
(`statistics/medians.py`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from ..statistics.medians import Ends
from .names import ATTENTION_FIRST, HALF, KTIW_FIRST, NEITHER, TOGETHER


def first_crossing(steps: Sequence[int], values: Float[np.ndarray, " checkpoint"]) -> int | None:
    """The first step at which the accuracy is at least one half; None if at none. NaN is not."""
    crossed = np.flatnonzero(values >= HALF)
    return int(steps[crossed[0]]) if len(crossed) else None


def order_of(ktiw: int | None, attention: int | None) -> str:
    """Which crossed first, by the steps at which they did. Of two at one checkpoint the order is not known."""
    if ktiw == attention:
        return NEITHER if ktiw is None else TOGETHER
    return KTIW_FIRST if _or_never(ktiw) < _or_never(attention) else ATTENTION_FIRST


def crossing_ends(step: int | None, last: int) -> Ends:
    """Of a first crossing: what has not crossed by the last step may do so any time after it."""
    return Ends(last, math.inf) if step is None else Ends(step, step)


def lead_ends(ktiw: int | None, attention: int | None, last: int) -> Ends:
    """Of step(attention) - step(ktiw). Where one of the two has not crossed by the last step, the lead is at least, or
    at most, what it would be if it crossed there; where neither has, nothing is known.
    """
    earlier, later = crossing_ends(ktiw, last), crossing_ends(attention, last)
    return Ends(later.low - earlier.high, later.high - earlier.low)


def _or_never(step: int | None) -> float:
    return math.inf if step is None else step
