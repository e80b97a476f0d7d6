"""What a reader follows along a training: the two heads of an induction circuit, and what repeats are worth."""

from __future__ import annotations

from ..followed import Followed
from .names import PERMUTED

MATCHES = 0.03
"""The excess from which on a head matches, unless a run sets another `matching_threshold`."""

FOLLOWED = (
    Followed("previous_token_score", "attention to the previous token"),
    Followed("excess", "prefix matching beyond its controls", nulls=(PERMUTED,), against=MATCHES),
    Followed("in_context_learning_score", "the in-context learning score"),
)
