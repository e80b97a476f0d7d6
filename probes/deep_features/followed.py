"""What a reader follows along a training: what a step on the features leaves unexplained, and the loss."""

from __future__ import annotations

from ..followed import Followed

FOLLOWED = (
    Followed("unexplained_share", "what a step on the features leaves", {"candidate": "feature_gd"}, above=False),
    Followed("unexplained_share", "what a step as attended leaves", {"candidate": "attended_gd"}, above=False),
    Followed("loss", "the loss", {"candidate": "model"}, above=False),
)
