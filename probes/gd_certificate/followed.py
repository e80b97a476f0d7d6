"""What a reader follows along a training: how far the weights are from a gradient step, and from the optimum."""

from __future__ import annotations

from ..followed import Followed

FOLLOWED = (
    Followed("form_distance", "the distance from a step of gradient descent", {"form": "gd"}, above=False),
    Followed("optimum_distance", "the distance from the optimum", above=False),
)
