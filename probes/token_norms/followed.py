"""What a reader follows along a training: what untrained models do not show on the same text."""

from __future__ import annotations

from ..followed import Followed

FOLLOWED = tuple(
    Followed("untrained_comparison", words, {"statistic": statistic})
    for statistic, words in (
        ("step_cosine", "the step cosine"),
        ("spearman_surprisal", "the correlation of norms with surprisal"),
        ("norm_growth_later", "the growth of norms"),
    )
)
