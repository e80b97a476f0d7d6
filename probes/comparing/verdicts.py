"""What a share of unexplained prediction is called, and how it is said."""

from __future__ import annotations

from typing import Literal

import numpy as np

from .numbers import Number

AGREES = 0.10
"""A candidate that leaves at most this share unexplained agrees with the model. The trained models that ship are at 4
to 6 % from their own candidate, and at 17 % or more from every other."""
NOTHING = 0.50
"""A candidate that leaves more than this share unexplained leaves more than it explains."""
NEXT_TO_NOTHING = 0.0005
"""Shares below this are not told apart in words: rounding errors of a model's precision."""

Verdict = Literal["agrees", "closest", "none"]


def verdict(share: Number) -> Verdict:
    """Read off the whole interval. Without one, nothing agrees and nothing is ruled out."""
    if share.high <= AGREES:
        return "agrees"
    return "none" if share.low > NOTHING else "closest"


def percent(share: Number) -> str:
    """ "41 %", "4.1 %", "less than 0.1 %"."""
    if share.value < NEXT_TO_NOTHING:
        return "less than 0.1 %"
    return f"{100 * share.value:.{_decimals(share)}f} %"


def percent_with_interval(share: Number) -> str:
    """ "41 % (95 % CI 39 to 43)", in so many digits that the ends differ."""
    if np.isnan(share.low) or share.value < NEXT_TO_NOTHING:
        return percent(share)
    low, high = (f"{100 * end:.{_decimals(share)}f}" for end in (share.low, share.high))
    return f"{percent(share)} (95 % CI {low} to {high})"


def at_most(said: str) -> str:
    """ "at most 41 %"; "less than 0.1 %" says it already."""
    return f"at most {said}" if said[0].isdigit() else said


def _decimals(share: Number) -> int:
    least = 0 if share.value >= 0.1 else 1
    ends = 100 * share.low, 100 * share.high
    return next((n for n in range(least, 4) if f"{ends[0]:.{n}f}" != f"{ends[1]:.{n}f}"), least)
