"""Which heads follow beta: their agreement beside every draw of both nulls."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..comparing.evidence import over_checkpoints
from ..comparing.heads_beside_nulls import FEWEST, HeadsBesideNulls, heads_beside_nulls
from ..findings import head_name
from ..measure import Measure
from .names import AGAINST, BETA, FOLLOWS, OTHER_TARGETS, PAIR, SHUFFLED

NONE = "none"


def head_agreement(measures: Mapping[str, Measure], pair: str = BETA.name) -> Measure | None:
    """That of every head; None over several seeds, whose heads do not correspond, and where there is none."""
    measure = measures.get("head_agreement")
    if measure is None or PAIR not in measure.axes:
        return None
    chosen = measure.sel(**{PAIR: pair})
    return chosen if chosen.axes == ("layer", "head") and chosen.has_number else None


def too_few(measure: Measure) -> bool:
    """Whether there are too few sequences to tell."""
    return not over_checkpoints(measure) and measure.n < FEWEST


def beside_nulls(measures: Mapping[str, Measure]) -> HeadsBesideNulls | None:
    """None where there is too little to tell."""
    agreement = head_agreement(measures)
    if agreement is None or too_few(agreement) or not {SHUFFLED, OTHER_TARGETS} <= agreement.nulls.keys():
        return None
    return heads_beside_nulls(agreement, [agreement.nulls[name] for name in (SHUFFLED, OTHER_TARGETS)])


def head_verdicts(measures: Mapping[str, Measure]) -> dict[str, str]:
    """A verdict for each head of which something can be told."""
    beside = beside_nulls(measures)
    if beside is None:
        return {}
    verdicts = np.where(beside.above, FOLLOWS, np.where(beside.below, AGAINST, NONE))
    return {head_name((int(at[0]), int(at[1]))): str(verdicts[tuple(at)]) for at in np.argwhere(beside.told)}
