"""The claim card: sentences that say what the measures say, and not more."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from mesascope.models import Source
from mesascope.models.constructed.induction import (
    ANTI_INDUCTION,
    INDUCTION,
    PREVIOUS_TOKEN,
    induction_circuit,
    planted_model,
)
from mesascope.probes import Claim, Measure
from mesascope.probes.induction_heads.probe import InductionHeads
from mesascope.probes.measure import missing

PROBE = InductionHeads(periods=(6, 5, 4), n_sequences=8)
SOURCE = Source("toy", layout="in-memory", notes=("made here",))


@pytest.fixture(autouse=True)
def few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mesascope.probes.induction_heads.probe.NULL_DRAWS", (2, 2))


@cache
def of_circuit() -> dict[str, Measure]:
    return dict(PROBE.measure(induction_circuit(d_vocab=14, n_ctx=14), 0, 16).measures)


def claim(measures: dict[str, Measure], probe: InductionHeads = PROBE) -> Claim:
    return probe.claim(measures, (SOURCE,))


def test_what_was_found_with_its_numbers() -> None:
    card = claim(of_circuit())
    assert card.found.startswith("1 of 2 heads is an induction head: L1H0 (prefix matching 1).")
    assert "By the same rules, previous-token: L0H0." in card.found
    assert "is 2.56 [2.56, 2.56] nat, 0 without repeats." in card.found  # log 13
    assert "all induction heads set to their means together the loss of the second run rises by 2.5" in card.found
    assert "nat, and 0 [0, 0] nat of in-context learning are left." in card.found
    assert card.rival.startswith("Least of them over its controls: L1H0, by 1 [1, 1] of attention; with W_Q and W_K")
    assert "an induction head needs 0.3 at every period." in card.rival
    assert "K-composition of a previous-token head into L1H0 is 0.189, under random rotations 0.1" in card.rival
    assert "bootstrap over 24 sequences, as many of each period (6, 5, 4)" in card.evidence
    assert "made here" in card.limits
    assert len(card.citations) == 2


def test_thresholds_stand_in_the_methods() -> None:
    probe = replace(PROBE, matching_threshold=0.45, level=0.01)
    card = claim(of_circuit(), probe)
    assert "exceeds its controls by 0.45 at every period, at a false discovery rate of 0.01" in card.methods
    assert "needs 0.45" in card.rival
    assert "sequences through the model in all" in card.methods


def test_no_head_and_still_in_context_learning() -> None:
    measures = of_circuit() | {"excess_by_period": raised(of_circuit()["excess_by_period"], -1.0)}
    card = claim(measures)
    assert card.found.startswith("None of the 2 heads is an induction head.")
    assert card.rival.startswith("Strongest of all heads over its controls: L1H0, by 1 [1, 1]")
    assert any("falls on the second run without any induction head" in limit for limit in card.limits)


def raised(measure: Measure, by: float) -> Measure:
    low, high = measure.interval
    return replace(measure, values=measure.values + by, interval=(low + by, high + by))


def test_heads_that_match_without_copying_are_named() -> None:
    nothing = np.zeros((2, 1))
    measures = of_circuit()
    unclear = {
        name: replace(measures[name], values=nothing, interval=(nothing, nothing))
        for name in ("ov_copying_score", "direct_logit_attribution")
    }
    card = claim(measures | unclear)
    assert "None of the 2 heads" in card.found
    assert any(
        limit.startswith("L1H0: matches, but neither its weights nor its direct effect") for limit in card.limits
    )


def test_heads_near_a_threshold_are_named() -> None:
    near = replace(
        of_circuit()["near_threshold"], values=np.array([[0.0], [1.0]]), message="the verdict of L1H0 changes"
    )
    assert "The verdict of L1H0 changes." in claim(of_circuit() | {"near_threshold": near}).limits


def test_fewer_periods_are_a_limit() -> None:
    probe = InductionHeads(periods=6, n_sequences=12, ablate="nothing")
    measures = dict(probe.measure(induction_circuit(d_vocab=14, n_ctx=14), 0, 16).measures)
    card = claim(measures, probe)
    assert any(limit.startswith("Only 1 period fit") for limit in card.limits)
    assert "set to their means" not in card.found


def test_anti_induction_is_said_beside() -> None:
    subject = planted_model([PREVIOUS_TOKEN], [INDUCTION, ANTI_INDUCTION], d_vocab=14, n_ctx=14)
    probe = replace(PROBE, ablate="nothing")
    card = claim(dict(probe.measure(subject, 0, 16).measures), probe)
    assert "anti-induction: L1H1" in card.found


def test_over_seeds_nothing_is_said_of_heads() -> None:
    """Measures of heads are not averaged over seeds; those of the model are."""
    over = {}
    for name, measure in of_circuit().items():
        if "head" in measure.axes:
            over[name] = missing(measure.unit, "not applicable", "heads have no order that seeds share")
        else:
            over[name] = replace(measure, replicate="seed", n=3)
    card = claim(over)
    assert PROBE.heads(over) == {}
    assert card.found.startswith("Heads are not compared here")
    assert "In-context learning" in card.found
    assert card.rival == "No head is compared with a control over several checkpoints."
    assert card.evidence == "95 % intervals: t-interval over 3 seeds."


def test_many_heads_are_counted() -> None:
    subject = planted_model([PREVIOUS_TOKEN], [INDUCTION] * 10, d_vocab=14, n_ctx=14)
    probe = replace(PROBE, ablate="nothing", periods=(6, 4))
    card = claim(dict(probe.measure(subject, 0, 16).measures), probe)
    assert "10 of 20 heads are induction heads: L1H0, L1H1, L1H2, L1H3, L1H4, L1H5, L1H6, L1H7 and 2 more" in card.found
