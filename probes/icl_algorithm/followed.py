"""What a reader follows along a training: the gain over predicting zero, and what two rules leave unexplained."""

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
    Followed("unexplained_share", "what gradient descent leaves unexplained", {"candidate": "gd"}, above=False),
    Followed("unexplained_share", "what ridge regression leaves unexplained", {"candidate": "ridge"}, above=False),
)
