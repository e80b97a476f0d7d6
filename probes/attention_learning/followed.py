"""What a reader follows along a training: what is known of words, where attention goes, and whether the two agree."""

from __future__ import annotations

from ..followed import Followed
from .names import BETA, PAIR

FOLLOWED = (
    Followed("ktiw_accuracy", "KTIW accuracy"),
    Followed("attention_accuracy", "attention accuracy"),
    Followed("agreement", "the agreement of attention with beta", {PAIR: BETA.name}),
)
