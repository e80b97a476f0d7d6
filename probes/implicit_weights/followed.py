"""What a reader follows along a training: how far the linear model after a layer is from that of two rules."""

from __future__ import annotations

from ..followed import Followed

FOLLOWED = (
    Followed("weight_distance", "the distance from gradient descent's weights", {"rule": "gd"}, above=False),
    Followed("weight_distance", "the distance from ridge regression's weights", {"rule": "ridge"}, above=False),
)
