"""How sensitivities and candidates are drawn."""

from __future__ import annotations

from ...comparing.by_candidate import MODEL
from ...drawing.marks import BLACK, BLUE, GREEN, OLIVE, ORANGE, PURPLE, SKY, VERMILION, Look
from ..names import ABLATED, COPIES_ONLY, GD, NEXT, OTHER, OWN, WITHOUT_COPIES, WITHOUT_NEXT, ZERO

SENSITIVITIES = {
    OWN: Look("own token", BLACK, "s", "--"),
    NEXT: Look("next token", VERMILION, "o", "-"),
    OTHER: Look("others (authors)", SKY, "v", ":"),
    WITHOUT_NEXT: Look("others without next", BLUE, "^", "-."),
}
LOSSES = {
    MODEL: Look("model", VERMILION, "o", "-"),
    GD: Look("one step of GD", BLUE, "s", "--"),
    ZERO: Look("zero predictor", BLACK, "X", (0, (1, 1))),
    WITHOUT_COPIES: Look("without copies", PURPLE, "v", "-."),
    COPIES_ONLY: Look("copies only", GREEN, "D", ":"),
    ABLATED: Look("no attention in layer 0", ORANGE, "^", (0, (4, 2))),
}
SCORE = Look("best head of layer 0", OLIVE, "o", "-")
