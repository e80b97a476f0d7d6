"""What a reader follows along a training: what gradient descent leaves unexplained away from the training tasks."""

from __future__ import annotations

from ..followed import Followed

FOLLOWED = tuple(
    Followed(
        "worst_unexplained",
        f"what gradient descent leaves unexplained under a shift of {words}",
        {"candidate": "gd", "shift": shift},
        above=False,
    )
    for shift, words in (("scale", "the inputs' scale"), ("covariance", "their covariance"))
)
