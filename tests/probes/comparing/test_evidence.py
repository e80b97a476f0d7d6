"""What an interval rests on: means over models are told from means over what one model read."""

from __future__ import annotations

import numpy as np
import pytest
from mesascope.analyses.runs.aggregation import mean_over
from mesascope.probes.comparing.evidence import evidence_of, interval_over, over_checkpoints
from mesascope.probes.measure import Measure


def of(replicate: str, n: int, value: float = 0.5) -> Measure:
    nothing = np.array(np.nan)
    return Measure(np.array(value), "share", (nothing, nothing), replicate, n, no_nulls="none")


@pytest.mark.parametrize("replicate", ["seed", "checkpoint"])
def test_a_mean_over_models_has_a_t_interval(replicate: str) -> None:
    """Both words that aggregation uses, as it uses them."""
    mean = mean_over(replicate, [of("sequence", 8), of("sequence", 8, 0.6)])
    assert over_checkpoints(mean)
    assert interval_over(mean) == f"t-interval over 2 {replicate}s"
    assert evidence_of(mean) == f"t-interval over 2 {replicate}s."


@pytest.mark.parametrize("replicate", ["task", "sequence", "document", "block"])
def test_what_one_model_read_is_resampled(replicate: str) -> None:
    assert not over_checkpoints(of(replicate, 1_200))
    assert interval_over(of(replicate, 1_200)) == f"bootstrap over 1,200 {replicate}s"
    assert evidence_of(of(replicate, 1_200)) == f"Bootstrap over 1,200 {replicate}s."
    assert evidence_of(of(replicate, 1)) == f"One {replicate}: no intervals."
