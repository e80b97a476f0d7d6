"""What a reader follows along a training: the gain over predicting zero, and what two rules leave unexplained."""

from __future__ import annotations

from ..comparing.followed_gain import GAIN
from ..followed import Followed

FOLLOWED = (
    GAIN,
    Followed("unexplained_share", "what gradient descent leaves unexplained", {"candidate": "gd"}, above=False),
    Followed("unexplained_share", "what ridge regression leaves unexplained", {"candidate": "ridge"}, above=False),
)
