"""One verdict a head: a pure function of the measures and of the thresholds.

A head *matches* when its prefix matching exceeds that of its controls by the threshold at every period, significantly
over all heads, and by more than heads with permuted weights reach. A head that matches is an induction head if its OV
circuit copies, an anti-induction head if it lowers the logits of what it attends to. The eigenvalue score decides that
beyond its threshold on either side; between, the direct effect on the repeated token's logit does, where it is larger
than any that permuted weights have; where that is not so either, the head gets no name of a copying head.

What a head finds by content comes before where it looks by position: an induction head rests on the first token when
nothing repeats, and is an induction head all the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, replace

import numpy as np
from jaxtyping import Bool, Float, Int

from ..findings import Head, head_name
from ..measure import Measure, without_interval
from .names import BY_CONTENT, BY_POSITION, EVEN, HEADS, PERMUTED, Verdict
from .words import listed

_POSITIONAL = ("previous_token_score", "current_token_score", "first_token_score", "fixed_offset_score")
_FLOOR = 0.99  # quantile of the null over heads and draws


@dataclass(frozen=True)
class Thresholds:
    """From where on something counts.

    matching:    excess of prefix matching, or of attention to duplicates, over its controls
    positional:  attention to a position beyond what even attention pays it
    copying:     absolute value of the OV eigenvalue score
    level:       false discovery rate over heads
    tolerance:   verdicts that change when one of these moves by so much are named as near a threshold
    """

    matching: float = 0.3
    positional: float = 0.3
    copying: float = 0.2
    level: float = 0.05
    tolerance: float = 0.001


@dataclass(frozen=True)
class Evidence:
    """What verdicts are read off; NaN where a score does not exist.

    floor, duplicate_floor, attribution_floor:  what heads with permuted weights reach
    positional:  attention beyond even attention to the previous, the current, the first token, and at the one offset
                 that gets most
    """

    excess: Float[np.ndarray, "layer head"]
    excess_by_period: Float[np.ndarray, "period layer head"]
    p_adjusted: Float[np.ndarray, "layer head"]
    floor: float
    copying: Float[np.ndarray, "layer head"]
    attribution: Float[np.ndarray, "layer head"]
    attribution_floor: float
    duplicate_by_period: Float[np.ndarray, "period layer head"]
    duplicate_floor: float
    positional: Float[np.ndarray, "4 layer head"]

    @classmethod
    def of(cls, measures: Mapping[str, Measure]) -> Evidence | None:
        """None where the measures have no heads of one checkpoint: over seeds, say, or along steps."""
        excess = measures.get("excess")
        if excess is None or excess.axes != HEADS:
            return None

        def values(name: str) -> np.ndarray:
            return measures[name].values if measures[name].status == "ok" else np.full(excess.values.shape, np.nan)

        return cls(
            excess=excess.values,
            excess_by_period=values("excess_by_period"),
            p_adjusted=values("p_adjusted"),
            floor=_floor(excess),
            copying=values("ov_copying_score"),
            attribution=values("direct_logit_attribution"),
            attribution_floor=_floor(measures["direct_logit_attribution"], both_sides=True),
            duplicate_by_period=values("duplicate_token_excess_by_period"),
            duplicate_floor=_floor(measures["duplicate_token_excess_by_period"]),
            positional=np.stack([values(name) - measures[name].nulls[EVEN][0] for name in _POSITIONAL]),
        )


def _floor(measure: Measure, both_sides: bool = False) -> float:
    """What permuted weights reach, over heads and draws; 0 where there are none to permute."""
    samples = measure.nulls.get(PERMUTED, np.zeros(1))
    samples = samples[np.isfinite(samples)]
    return float(np.quantile(np.abs(samples) if both_sides else samples, _FLOOR)) if samples.size else 0.0


def matching(evidence: Evidence, thresholds: Thresholds) -> Bool[np.ndarray, "layer head"]:
    """Heads whose prefix matching exceeds its controls: at every period, significantly, and by more than chance."""
    everywhere = (evidence.excess_by_period >= thresholds.matching).all(axis=0)
    return everywhere & (evidence.p_adjusted <= thresholds.level) & (evidence.excess > evidence.floor)


def copying_sign(evidence: Evidence, thresholds: Thresholds) -> Int[np.ndarray, "layer head"]:
    """1: raises the logits of what it attends to; -1: lowers them; 0: neither can be said."""
    by_weights = np.where(np.abs(evidence.copying) >= thresholds.copying, np.sign(evidence.copying), 0)
    large = np.abs(evidence.attribution) > evidence.attribution_floor
    by_effect = np.where(large, np.sign(evidence.attribution), 0)
    return np.where(by_weights != 0, by_weights, np.nan_to_num(by_effect)).astype(int)


def labels(evidence: Evidence, thresholds: Thresholds) -> np.ndarray:
    """The verdict of every head, [layer, head]."""
    matches, sign = matching(evidence, thresholds), copying_sign(evidence, thresholds)
    duplicates = (evidence.duplicate_by_period >= thresholds.matching).all(axis=0)
    duplicates &= evidence.duplicate_by_period.mean(axis=0) > evidence.duplicate_floor
    strongest = evidence.positional.argmax(axis=0)
    positional = np.where(
        evidence.positional.max(axis=0) >= thresholds.positional, np.array(BY_POSITION)[strongest], Verdict.NONE
    )
    content = [matches & (sign > 0), matches & (sign < 0), duplicates]
    return np.select(content, BY_CONTENT, positional)


def near_a_threshold(evidence: Evidence, thresholds: Thresholds) -> Bool[np.ndarray, "layer head"]:
    """Heads whose verdict is another one when a threshold, or what permuted weights reach, moves by the tolerance."""
    found, step = labels(evidence, thresholds), thresholds.tolerance
    near = np.zeros(found.shape, dtype=bool)
    for sign in (-step, step):
        for name in ("matching", "positional", "copying", "level"):
            moved = replace(thresholds, **{name: getattr(thresholds, name) + sign})
            near |= labels(evidence, moved) != found
        for name in (field.name for field in fields(evidence) if field.name.endswith("floor")):
            near |= labels(replace(evidence, **{name: getattr(evidence, name) + sign}), thresholds) != found
    return near


def head_verdicts(measures: Mapping[str, Measure], thresholds: Thresholds) -> dict[Head, Verdict]:
    """The verdict of every (layer, head); empty for measures without heads of one checkpoint."""
    evidence = Evidence.of(measures)
    if evidence is None:
        return {}
    found = labels(evidence, thresholds)
    return {(layer, head): Verdict(str(label)) for (layer, head), label in np.ndenumerate(found)}


def heads_called(verdicts: Mapping[Head, str], verdict: Verdict) -> list[Head]:
    """The heads with one verdict."""
    return [head for head, own in verdicts.items() if own == verdict]


def near_measure(measures: Mapping[str, Measure], thresholds: Thresholds) -> Measure:
    """near_threshold: 1 for heads within the tolerance of a threshold, which the message names."""
    evidence = Evidence.of(measures)
    assert evidence is not None, "made from the measures of one checkpoint"
    near = near_a_threshold(evidence, thresholds)
    moved = f"when a threshold moves by {thresholds.tolerance:g}"
    if near.any():
        names = listed(head_name((int(layer), int(head))) for layer, head in np.argwhere(near))
        words = f"the verdict of {names} changes {moved}"
    else:
        words = f"no verdict changes {moved}"
    return without_interval(near, "yes or no", HEADS, message=words, no_nulls="read off other measures")
