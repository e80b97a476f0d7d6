"""Losses of repeats: which tokens count, and what is said where there are no logits."""

from __future__ import annotations

import numpy as np
import pytest
from mesascope.data import RepeatedTokens
from mesascope.models import NotApplicable
from mesascope.probes.induction_heads.inputs import period_inputs
from mesascope.probes.induction_heads.losses import in_context_learning, loss_measures, mean_over_repeat
from mesascope.probes.induction_heads.names import NO_REPEATS, PERMUTED
from mesascope.probes.induction_heads.observations import Observations, PeriodObservations
from mesascope.probes.induction_heads.score_measures import Comparison

LAW = RepeatedTokens(period=5, d_vocab=12, bos=0)


def observed(rng: np.random.Generator) -> Observations:
    tokens = {"loss": rng.random((4, 10)), "hit": rng.integers(0, 2, (4, 10)).astype(float)}
    return Observations((PeriodObservations({}, tokens, {}),), (PeriodObservations({}, tokens, {}),))


def test_repeats_are_read_without_their_first_token() -> None:
    losses = np.arange(10.0)[None]  # of tokens 1 … 10: BOS, r at 1 … 5, again at 6 … 10
    assert mean_over_repeat(losses, LAW, 0) == np.mean([1, 2, 3, 4])
    assert mean_over_repeat(losses, LAW, 1) == np.mean([6, 7, 8, 9])
    assert in_context_learning(losses, LAW) == -5
    without_bos = RepeatedTokens(period=5, d_vocab=12)  # of tokens 1 … 9: r at 0 … 4, again at 5 … 9
    assert mean_over_repeat(losses[:, :9], without_bos, 0) == np.mean([0, 1, 2, 3])
    assert mean_over_repeat(losses[:, :9], without_bos, 1) == np.mean([5, 6, 7, 8])


def test_losses_stand_beside_controls_and_permuted_weights(rng: np.random.Generator) -> None:
    observations, periods = observed(rng), period_inputs((LAW,), 4, seed=0)
    found = loss_measures(observations, Comparison(periods, [observed(rng), observed(rng)], 0.05, seed=0), None)
    score = found["in_context_learning_score"]
    difference = found["loss_first_repeat"].estimate - found["loss_second_repeat"].estimate
    assert score.estimate == pytest.approx(difference, abs=1e-12)
    assert (score.nulls[NO_REPEATS].shape, score.nulls[PERMUTED].shape) == ((1,), (2,))
    assert score.message == "period 5; without the first token of each repeat"
    assert (score.higher_is_better, found["loss_second_repeat"].higher_is_better) == (True, False)
    assert np.allclose(found["loss_by_position"].values, observations.repeated[0].tokens["loss"].mean(axis=0))
    assert (
        PERMUTED
        not in loss_measures(observations, Comparison(periods, [], 0.05, seed=0), None)["loss_first_repeat"].nulls
    )


def test_without_logits_every_loss_says_why(rng: np.random.Generator) -> None:
    comparison = Comparison(period_inputs((LAW,), 4, seed=0), [], 0.05, seed=0)
    found = loss_measures(observed(rng), comparison, NotApplicable("no logits here"))
    assert len(found) == 5
    assert {(measure.status, measure.message) for measure in found.values()} == {("not applicable", "no logits here")}
