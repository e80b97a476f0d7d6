"""Colours, markers and lines of the trained model, its candidates and its controls in every figure of gd-alignment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...comparing.by_candidate import CANDIDATE, MODEL
from ...drawing.marks import BLUE, GREEN, GREY, ORANGE, PURPLE, SKY, VERMILION, Look
from ..names import GD, GDPP, candidates

if TYPE_CHECKING:
    from ...measure import Measure

LOSS = "loss (½ squared label)"
TRAINED = Look("trained model", VERMILION, "o", "-")
INTERPOLATED = Look("interpolated", PURPLE, "^", ":")
OTHER_SEED = Look("another seed", PURPLE, "v", ":")
CONSTRUCTED = {
    GD.name: Look(GD.label, BLUE, "s", "--"),
    GDPP.name: Look(GDPP.label, GREEN, "D", "-."),
}
CONTROLS = {
    "unaligned": Look("not aligned", ORANGE, "^", "--"),
    "wrong_rate": Look("wrong rate", SKY, "v", "-."),
    "rotated": Look("rotated KQ", GREY, "X", ":"),
}
_ALGORITHM: dict[str, Any] = {"color": "#4D4D4D", "marker": "^", "line": ":"}


def looks(measure: Measure | None) -> dict[str, Look]:
    """How each candidate of a measure is drawn and called, in the order of figures; the model itself first."""
    if measure is None or CANDIDATE not in measure.axes:
        return {}
    names = measure.labels(CANDIDATE)
    model = {MODEL: TRAINED} if MODEL in names else {}
    return model | {
        name: CONSTRUCTED.get(name, Look(candidate.label, **_ALGORITHM))
        for name, candidate in candidates(names).items()
    }


def at(measures: Mapping[str, Measure], metric: str, **labels: str) -> Measure | None:
    """The part of a measure at these labels, if there is one: `at(measures, "cosine", candidate="gd")`."""
    measure = measures.get(metric)
    if measure is None or any(a not in measure.axes or labels[a] not in measure.labels(a) for a in labels):
        return None
    return measure.sel(**labels)
