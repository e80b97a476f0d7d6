"""What verdicts are read off: scores of heads beside what nulls reach, and from where on something counts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from ..measure import Measure, missing
from .names import EVEN, HEADS, PERMUTED, SHUFFLED_IDS

POSITIONAL = ("previous_token_score", "current_token_score", "first_token_score", "fixed_offset_score")
_FLOOR = 0.99  # quantile of the null over heads and draws


@dataclass(frozen=True)
class Thresholds:
    """From where on something counts.

    matching:     excess of prefix matching over its controls
    duplicate:    excess of attention to earlier occurrences over its control
    positional:   attention to a position beyond what even attention pays it
    copying:      absolute value of the OV eigenvalue score
    level:        false discovery rate over heads
    weak_below:   strength below which a match is weak
    strong_from:  strength from which it is strong
    tolerance:    verdicts that change when one of these moves by so much are named as near a threshold
    """

    matching: float = 0.03
    duplicate: float = 0.3
    positional: float = 0.3
    copying: float = 0.2
    level: float = 0.05
    weak_below: float = 0.3
    strong_from: float = 0.7
    tolerance: float = 0.001


@dataclass(frozen=True)
class Evidence:
    """What verdicts are read off; NaN where a score does not exist.

    excess:      over controls, all periods pooled; text_excess: on the user's text
    …_low:       lower ends of 95 % intervals
    …_floor:     what heads with permuted weights reach, and with shuffled ids on the text
    positional:  attention beyond even attention to the previous, the current, the first token, and at the one offset
                 that gets most
    """

    excess: Float[np.ndarray, "layer head"]
    excess_low: Float[np.ndarray, "period layer head"]
    excess_floor: Float[np.ndarray, " period"]
    p_adjusted: Float[np.ndarray, "layer head"]
    text_excess: Float[np.ndarray, "layer head"]
    text_low: Float[np.ndarray, "layer head"]
    text_floor: float
    text_p_adjusted: Float[np.ndarray, "layer head"]
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
        nowhere = missing("probability", "not applicable", "there is no text")

        def has_heads(name: str) -> Measure | None:
            measure = measures.get(name, nowhere)
            return measure if measure.status == "ok" else None

        def values(name: str) -> np.ndarray:
            return measure.values if (measure := has_heads(name)) else np.full(excess.values.shape, np.nan)

        def low(name: str) -> np.ndarray:
            return measure.interval[0] if (measure := has_heads(name)) else np.full(excess.values.shape, np.nan)

        by_period = measures["excess_by_period"]
        return cls(
            excess=excess.values,
            excess_low=low("excess_by_period"),
            excess_floor=np.array([_floor(by_period.at(period=place)) for place in range(len(by_period.values))]),
            p_adjusted=values("p_adjusted"),
            text_excess=values("text_matching_excess"),
            text_low=low("text_matching_excess"),
            text_floor=_floor(measures.get("text_matching_excess", nowhere), SHUFFLED_IDS),
            text_p_adjusted=values("text_p_adjusted"),
            copying=values("ov_copying_score"),
            attribution=values("direct_logit_attribution"),
            attribution_floor=_floor(measures["direct_logit_attribution"], both_sides=True),
            duplicate_by_period=values("duplicate_token_excess_by_period"),
            duplicate_floor=_floor(measures["duplicate_token_excess_by_period"]),
            positional=np.stack([values(name) - measures[name].nulls[EVEN][0] for name in POSITIONAL]),
        )


def _floor(measure: Measure, null: str = PERMUTED, both_sides: bool = False) -> float:
    """What a null reaches, over heads and draws; 0 where there is none."""
    samples = measure.nulls.get(null, np.zeros(1))
    samples = samples[np.isfinite(samples)]
    return float(np.quantile(np.abs(samples) if both_sides else samples, _FLOOR)) if samples.size else 0.0
