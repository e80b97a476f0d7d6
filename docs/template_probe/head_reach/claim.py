"""The claim card: what the measures say, in sentences that say no more. A pure function of measures."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from mesascope.probes import Claim, Measure

from .reach_measures import EVEN

CITATIONS = (
    "K. Clark, U. Khandelwal, O. Levy, C. D. Manning. What does BERT look at? An analysis of BERT's attention."
    " BlackboxNLP 2019. arXiv:1906.04341.",
)
LIMITS = (
    "Random tokens show a head's habit. On text the same head may look elsewhere.",
    "Where a head looks does not say what it reads there, or whether the model needs it.",
)


def reach_claim(measures: Mapping[str, Measure], heads: Mapping[str, str], first_token: str) -> Claim:
    """Of one checkpoint, with its heads; or of several seeds, which share no heads and have means only."""
    mean = measures["mean_reach"]
    longest = max(mean.labels("length"))
    overall = mean.sel(length=longest)
    found = _mean(overall, longest)
    return Claim(
        found=f"{_heads(heads)} {found}" if heads else found,
        rival=f"Attention spread evenly over {longest} tokens reaches {overall.nulls[EVEN].mean():.3g} tokens back.",
        evidence=f"{overall.n} {overall.replicate}s at each length; the intervals resample them.",
        limits=LIMITS,
        methods=_methods(mean.labels("length"), first_token),
        citations=CITATIONS,
    )


def _heads(heads: Mapping[str, str]) -> str:
    """How many heads have each verdict, and which."""
    near, far = ([name for name, verdict in heads.items() if verdict == wanted] for wanted in ("near", "far"))
    if not near and not far:
        return f"None of {len(heads)} heads differs from even attention at every length."
    return f"Of {len(heads)} heads, {_named(near)} look nearer than even attention, {_named(far)} look farther."


def _named(heads: list[str]) -> str:
    return f"{len(heads)} ({', '.join(heads)})" if heads else "none"


def _mean(overall: Measure, length: int) -> str:
    low, high = (float(bound) for bound in overall.interval)
    interval = f" (95 % CI {low:.3g} to {high:.3g})" if np.isfinite(low) else ""
    return f"Mean reach over all heads on {length} tokens: {overall.estimate:.3g} tokens{interval}."


def _methods(lengths: tuple[int, ...], first_token: str) -> str:
    sink = " Attention to the first token was left out." if first_token == "dropped" else ""
    return (
        f"Reach is the mean distance in tokens between a query and the keys that it attends to, on random tokens"
        f" ({' and '.join(map(str, lengths))} tokens a sequence).{sink} The nulls are attention spread evenly over the"
        " keys that a query sees, and each head's own attention dealt out to these keys at random."
    )
