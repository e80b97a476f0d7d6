"""The gain over predicting zero, as a reader follows it along a training. Without torch."""

from __future__ import annotations

from ..followed import Followed

GAIN = Followed(
    "loss_difference",
    "the loss minus that of the zero predictor",
    {"candidate": "zero"},
    nulls=("untrained",),
    above=False,
)
"""Of probes that compare with candidates, the zero predictor among them."""
