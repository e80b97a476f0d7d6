"""Agreements as sentences: which side of chance they lie on, with their interval and nulls."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from ..comparing.numbers import rounded
from ..measure import Measure
from .names import PAIR, Pair
from .standing import share_number, standing_of

VERDICTS = {
    "above": "{first} agrees with {second} more often than chance",
    "below": "{first} agrees with {second} less often than chance",
    "not told apart": "How often {first} agrees with {second} is not distinguishable from chance",
    "cannot tell": "Whether {first} agrees with {second} more often than chance cannot be told",
}


def agreement_sentences(measures: Mapping[str, Measure], pairs: tuple[Pair, ...]) -> Iterator[str]:
    """One for each of these pairs that has a number."""
    for pair in pairs:
        agreement = measures["agreement"].sel(**{PAIR: pair.name})
        standing = standing_of(agreement)
        if standing is None:
            continue
        words = VERDICTS[standing].format(first=pair.first, second=pair.second)
        yield f"{words[0].upper()}{words[1:]}: {share_number(agreement)}{beside(agreement)}."


def beside(agreement: Measure) -> str:
    """(shuffled 0.041 to 0.062, other targets 0.04 to 0.06); nothing without nulls."""
    said = [f"{name} {_range(samples)}" for name, samples in agreement.nulls.items()]
    return f" ({', '.join(said)})" if said else ""


def _range(samples: np.ndarray) -> str:
    low, high = rounded(float(np.nanmin(samples))), rounded(float(np.nanmax(samples)))
    return low if low == high else f"{low} to {high}"
