"""What a report of label-copying does not show, one sentence a limit, each under its own condition."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ...models.subject import Source
from ..comparing.by_candidate import CANDIDATE
from ..comparing.numbers import number
from ..measure import Measure
from ..regression.limits import notes, turned
from .names import ABLATED
from .standing import Standing

BY_PLACE = (
    "The score says where attention goes, not why. Nothing repeats in these tasks, so no token is found by what it"
    " holds, as induction heads find it."
)
NO_SCALE = (
    "A sensitivity has no scale of its own, since a later layer can make up for a small copy. It is compared with that"
    " to other tokens."
)
SIGNED = "Gradients are averaged over tasks with their sign, so what changes sign from task to task cancels."
FIRST = "Sensitivities and edits are those of the first layer."
LATER = "A head of layer {} pays labels more attention than any of the first."
NOT_INSIDE = "A loss like that of a step does not show that the later layers take one."
FAR = "Without the first layer's attention tokens lack more than copies, so that loss may rise for other reasons."
OF_THE_FILE = "Labels that are not copied are read as 0, which need not be the mean of those in the file."


def limits(order: Standing, sources: tuple[Source, ...], tasks_file: str | None, sign: int | None) -> tuple[str, ...]:
    """All limits of one claim."""
    measures = order.measures
    return (
        *([BY_PLACE] if order.attends.any() else []),
        *([NOT_INSIDE] if order.beside == "same" else []),
        NO_SCALE,
        SIGNED,
        *_layers(measures),
        *([FAR] if number(measures["loss_rise"].sel(**{CANDIDATE: ABLATED})).low > 0 else []),
        *([OF_THE_FILE] if tasks_file is not None else []),
        *turned(measures, sign),
        *notes(sources),
    )


def _layers(measures: Mapping[str, Measure]) -> list[str]:
    """That only the first layer is examined; and a later one whose head attends to labels more, of one checkpoint."""
    scores = measures["prefix_matching_score"]
    if scores.axes != ("layer", "head") or len(scores.values) < 2:
        return [FIRST]
    best = scores.values.max(axis=1)
    place = int(np.nanargmax(best))
    later = place > 0 and scores.interval[0][place].max() > scores.interval[1][0].max()
    return [FIRST, *([LATER.format(place)] if later else [])]
