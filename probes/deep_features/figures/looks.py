"""How candidates are drawn."""

from __future__ import annotations

from ...comparing.by_candidate import MODEL
from ...drawing.marks import BLACK, BLUE, GREEN, OLIVE, ORANGE, PURPLE, SKY, VERMILION, Look
from ..names import ATTENDED_GD, EMBEDDING, FEATURE_GD, FEATURE_RIDGE, TARGET, TWIN, ZERO

LOOKS = {
    MODEL: Look("model", VERMILION, "o", "-"),
    FEATURE_GD: Look("GD on features", BLUE, "s", "--"),
    ATTENDED_GD: Look("GD as attended", ORANGE, "P", (0, (5, 1))),
    FEATURE_RIDGE: Look("ridge on features", SKY, "v", ":"),
    TWIN: Look("twin", GREEN, "^", "-."),
    EMBEDDING: Look("before attention", PURPLE, "D", (0, (4, 2))),
    ZERO: Look("zero predictor", BLACK, "X", (0, (1, 1))),
    TARGET: Look("target", BLACK, "", (0, (1, 1))),
}
READ_OUT = Look("linear read-out", OLIVE, "o", "-")
