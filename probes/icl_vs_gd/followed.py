"""What a reader follows along a training: whether demonstrations help, and whether their labels must be right."""

from __future__ import annotations

from ..followed import Followed
from .names import GAIN, GAIN_BY_LABELS
from .verdicts import LEAST_GAIN

FOLLOWED = (
    Followed(GAIN, "the accuracy that demonstrations add", against=LEAST_GAIN),
    Followed(GAIN_BY_LABELS, "the accuracy that right labels add", against=LEAST_GAIN),
)
