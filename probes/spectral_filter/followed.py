"""What a reader follows along a training: how much of the model is no filter."""

from __future__ import annotations

from ..followed import Followed

FOLLOWED = (Followed("off_filter_share", "the share that is no filter", above=False),)
