"""Losses of repeats: which tokens count, and what is said where there are no logits."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from mesascope.data import RepeatedTokens
from mesascope.models import NotApplicable
from mesascope.probes import Measure
from mesascope.probes.induction_heads.inputs import period_inputs
from mesascope.probes.induction_heads.losses import (
    in_context_learning,
    learns_in_context,
    loss_measures,
    mean_over_repeat,
    uses_order,
)
from mesascope.probes.induction_heads.names import NO_REPEATS, SHUFFLED_REPEAT
from mesascope.probes.induction_heads.observations import ModelObservations, PeriodObservations
from mesascope.probes.induction_heads.score_measures import Comparison

LAW = RepeatedTokens(period=5, d_vocab=12, bos=0)


def observed(rng: np.random.Generator, **shift: float) -> ModelObservations:
    """Made-up losses; `shift` is added to those of the second repeat and of the shuffled one."""

    def tokens(second: float) -> dict[str, np.ndarray]:
        losses = rng.random((4, 10))
        losses[:, 5:] += second
        return {"loss": losses, "hit": rng.integers(0, 2, (4, 10)).astype(float)}

    repeated, control = (PeriodObservations({}, tokens(shift.get(side, 0)), {}) for side in ("repeated", "control"))
    return ModelObservations(
        (repeated,), (control,), (), torch.zeros(1, 1, 1).double(), tokens(shift.get("shuffled", 0)), {}
    )


def measured(observations: ModelObservations) -> dict[str, Measure]:
    return loss_measures(observations, Comparison(period_inputs((LAW,), 4, seed=0), [], 0.05, seed=0), None)


def test_repeats_are_read_without_their_first_token() -> None:
    losses = np.arange(10.0)[None]  # of tokens 1 … 10: BOS, r at 1 … 5, again at 6 … 10
    assert mean_over_repeat(losses, LAW, 0) == np.mean([1, 2, 3, 4])
    assert mean_over_repeat(losses, LAW, 1) == np.mean([6, 7, 8, 9])
    assert in_context_learning(losses, LAW) == -5
    without_bos = RepeatedTokens(period=5, d_vocab=12)  # of tokens 1 … 9: r at 0 … 4, again at 5 … 9
    assert mean_over_repeat(losses[:, :9], without_bos, 0) == np.mean([0, 1, 2, 3])
    assert mean_over_repeat(losses[:, :9], without_bos, 1) == np.mean([5, 6, 7, 8])


def test_losses_stand_beside_controls(rng: np.random.Generator) -> None:
    observations = observed(rng)
    found = measured(observations)
    score = found["in_context_learning_score"]
    difference = found["loss_first_repeat"].estimate - found["loss_second_repeat"].estimate
    assert score.estimate == pytest.approx(difference, abs=1e-12)
    assert {name: values.shape for name, values in score.nulls.items()} == {NO_REPEATS: (1,), SHUFFLED_REPEAT: (1,)}
    shuffled = found["loss_shuffled_repeat"].estimate
    assert shuffled == pytest.approx(observations.shuffled["loss"][:, 6:].mean(), abs=1e-12)
    assert found["order_gain"].estimate == pytest.approx(shuffled - found["loss_second_repeat"].estimate, abs=1e-12)
    of_shuffled = observations.shuffled["loss"][:, 1:5].mean() - shuffled
    assert score.nulls[SHUFFLED_REPEAT] == pytest.approx(of_shuffled, abs=1e-12)
    assert score.message == "period 5; without the first token of each repeat"
    assert (score.higher_is_better, found["loss_second_repeat"].higher_is_better) == (True, False)
    by_position = found["loss_by_position"]
    assert np.allclose(by_position.values, observations.repeated[0].tokens["loss"].mean(axis=0))
    assert np.allclose(by_position.nulls[NO_REPEATS], observations.control[0].tokens["loss"].mean(axis=0))
    assert np.allclose(by_position.nulls[SHUFFLED_REPEAT], observations.shuffled["loss"].mean(axis=0))


def test_learning_in_any_order_and_in_the_true_one(rng: np.random.Generator) -> None:
    nothing = measured(observed(rng))
    assert not learns_in_context(nothing)
    assert not uses_order(nothing)
    in_order = measured(observed(rng, repeated=-5))
    assert learns_in_context(in_order)
    assert uses_order(in_order)
    in_any_order = measured(observed(rng, repeated=-5, shuffled=-5))
    assert learns_in_context(in_any_order)
    assert not uses_order(in_any_order)
    without_repeats_too = measured(observed(rng, repeated=-5, control=-9))
    assert not learns_in_context(without_repeats_too)
    assert not uses_order({})


def test_without_logits_every_loss_says_why(rng: np.random.Generator) -> None:
    comparison = Comparison(period_inputs((LAW,), 4, seed=0), [], 0.05, seed=0)
    found = loss_measures(observed(rng), comparison, NotApplicable("no logits here"))
    assert len(found) == 7
    assert {(measure.status, measure.message) for measure in found.values()} == {("not applicable", "no logits here")}
