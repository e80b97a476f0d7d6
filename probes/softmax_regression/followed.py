"""What a reader follows along a training: the gain over zero, the likeness to smoothing, the shift of the targets."""

from __future__ import annotations

from ..comparing.followed_gain import GAIN
from ..followed import Followed

FOLLOWED = (
    GAIN,
    Followed("unexplained_share", "what kernel smoothing leaves unexplained", {"candidate": "smoother"}, above=False),
    Followed("shift_cosine", "the cosine of the shifts"),
)
