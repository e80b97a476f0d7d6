"""What a reader follows along a training: the gain over zero, the likeness to smoothing, the shift of the targets."""

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
    Followed("unexplained_share", "what kernel smoothing leaves unexplained", {"candidate": "smoother"}, above=False),
    Followed("shift_cosine", "the cosine of the shifts"),
)
