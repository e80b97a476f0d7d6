"""What a reader follows along a training: attention to labels, and whether answers need what is copied."""

from __future__ import annotations

from ..followed import Followed

FOLLOWED = (
    Followed("first_layer_score", "the attention to labels"),
    Followed("copy_sensitivity", "the sensitivity to the next token", {"to": "next"}),
    Followed("loss", "the loss", {"candidate": "model"}, above=False),
)
