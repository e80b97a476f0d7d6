"""Names that measures, the claim and figures share, without torch."""

from __future__ import annotations

from dataclasses import dataclass

COMPARISON = "untrained_comparison"
"""The measure, with an axis "statistic", of what the model and untrained ones have on the same few tokens."""
UNTRAINED = "untrained"
"""The null that untrained models make."""
LONGEST, SHORTEST, LARGEST = "longest_tokens", "shortest_tokens", "largest_activations"
"""Names of the report's examples."""


@dataclass(frozen=True)
class Statistic:
    """What a statistic is called in sentences, and its unit."""

    words: str
    unit: str


STATISTICS = {
    "norm_growth_later": Statistic("growth", "factor per layer"),
    "norm_growth_first": Statistic("growth at position 0", "factor per layer"),
    "spearman_log_frequency": Statistic("correlation with frequency", "rank correlation"),
    "spearman_surprisal": Statistic("correlation with surprisal", "rank correlation"),
    "spearman_entropy": Statistic("correlation with entropy", "rank correlation"),
    "step_cosine": Statistic("step cosine", "cosine"),
    "mixing_ratio": Statistic("mixing ratio", "ratio"),
    "anisotropy": Statistic("anisotropy", "cosine"),
    "sink_metric": Statistic("attention sinks", "%"),
    "massive_windows": Statistic("massive activations", "share of windows"),
}
"""What is compared: see `untrained_comparison`."""
