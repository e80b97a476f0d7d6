"""What a reader follows along a training: whether labels are learned from, and how much the strongest heads carry."""

from __future__ import annotations

from ..followed import Followed
from .names import EFFECT, GAIN_BY_LABELS, OWN_PROMPT, PATCH, TASK_MEAN

FOLLOWED = (
    Followed(GAIN_BY_LABELS, "the accuracy that labels add", against=0.0),
    Followed(EFFECT, "the indirect effect by the task mean", {PATCH: TASK_MEAN}),
    Followed(EFFECT, "the indirect effect by the query's own prompt", {PATCH: OWN_PROMPT}),
)
