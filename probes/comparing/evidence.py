"""What an interval rests on, as cards say it. A mean over checkpoints has a t-interval, all others are resampled."""

from __future__ import annotations

from ..measure import Measure

CHECKPOINTS = ("seed", "checkpoint")
"""What a report over several models calls them: seeds of one recipe, or checkpoints that nobody numbered."""


def over_checkpoints(measure: Measure) -> bool:
    """Whether it is a mean over several models, which share neither heads nor the way in which they learned."""
    return measure.replicate in CHECKPOINTS


def interval_over(measure: Measure) -> str:
    """bootstrap over 32 sequences; t-interval over 5 seeds"""
    how = "t-interval" if over_checkpoints(measure) else "bootstrap"
    return f"{how} over {measure.n:,} {measure.replicate}s"


def evidence_of(measure: Measure) -> str:
    """Bootstrap over 32 sequences. One sequence: no intervals."""
    if measure.n == 1:
        return f"One {measure.replicate}: no intervals."
    words = interval_over(measure)
    return f"{words[0].upper() if words[0] == 'b' else words[0]}{words[1:]}."
