"""What a reader follows along a training: the gain over predicting zero, and the likeness to gradient descent."""

from __future__ import annotations

from ..comparing.followed_gain import GAIN
from ..followed import Followed

FOLLOWED = (
    GAIN,
    Followed("cosine", "the cosine with gradient descent", {"candidate": "gd"}),
)
