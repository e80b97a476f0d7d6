"""What a reader follows along a training: the gain over predicting zero, and the likeness to gradient descent."""

from __future__ import annotations

from ..followed import Followed

FOLLOWED = (
    Followed(
        "loss_difference",
        "the loss minus that of the zero predictor",
        {"candidate": "zero"},
        nulls=("untrained",),
        above=False,
    ),
    Followed("cosine", "the cosine with gradient descent", {"candidate": "gd"}),
)
