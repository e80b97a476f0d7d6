"""The claim card: sentences that say what the measures say, and not more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mesascope.models import Source
from mesascope.models.constructed.induction import (
    ANTI_INDUCTION,
    INDUCTION,
    PREVIOUS_TOKEN,
    SILENT,
    induction_circuit,
    planted_model,
)
from mesascope.models.language_model import LanguageModel
from mesascope.probes import Claim, Measure
from mesascope.probes.induction_heads.names import RANDOM_HEADS
from mesascope.probes.induction_heads.probe import InductionHeads
from mesascope.probes.measure import along, missing

PROBE = InductionHeads(periods=(6, 5, 4), n_sequences=8)
SOURCE = Source("toy", layout="in-memory", notes=("made here",))
SIZES = {"d_vocab": 14, "n_ctx": 14}
Measures = dict[str, Measure]


@pytest.fixture(scope="module", autouse=True)
def few_draws() -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mesascope.probes.induction_heads.observations.NULL_DRAWS", (2, 2))
        yield


def measured(subject: LanguageModel, probe: InductionHeads = PROBE) -> Measures:
    return dict(probe.measure(subject, 0, 16).measures)


@pytest.fixture(scope="module")
def circuit() -> Measures:
    return measured(induction_circuit(**SIZES))


@pytest.fixture(scope="module")
def among_others() -> Measures:
    """Two induction heads beside two that do nothing, and one previous-token head."""
    return measured(planted_model([PREVIOUS_TOKEN], [INDUCTION, INDUCTION, SILENT, SILENT], **SIZES))


def claim(measures: Measures, probe: InductionHeads = PROBE) -> Claim:
    return probe.claim(measures, (SOURCE,))


def changed(measure: Measure, values: Any) -> Measure:
    values = np.broadcast_to(np.asarray(values, dtype=float), measure.values.shape).copy()
    return replace(measure, values=values, interval=(values, values))


def says(card: Claim, words: str) -> bool:
    return any(words in limit for limit in card.limits)


# -- found -------------------------------------------------------------------------------------------------------------


def test_one_induction_head_with_its_numbers(circuit: Measures) -> None:
    card = claim(circuit)
    assert card.found.startswith("1 of 2 heads is an induction head: L1H0 (prefix matching 1). Mean-ablating it raises")
    assert "the loss on the second repeat by 2.56 nat (95 % CI 2.5" in card.found  # log 13
    assert "In-context learning score" not in card.found  # the ablation says what it is for
    assert card.evidence == "Bootstrap over 24 sequences (periods 6, 5 and 4)."
    assert says(card, "made here")
    assert says(card, "random tokens. The verdicts do not show what a head does on natural text")
    assert says(card, "Heads can stand in for each other.")
    assert not says(card, "own text")
    assert len(card.citations) == 2


def test_several_induction_heads_are_named_and_ablated_together(among_others: Measures) -> None:
    card = claim(among_others)
    assert card.found.startswith("2 of 8 heads are induction heads: L1H0, L1H1 (prefix matching 1).")
    assert "Mean-ablating all of them raises the loss on the second repeat by" in card.found


def test_many_heads_are_counted() -> None:
    subject = planted_model([PREVIOUS_TOKEN], [INDUCTION] * 6, **SIZES)
    probe = replace(PROBE, ablate="nothing", periods=(6, 4))
    card = claim(measured(subject, probe), probe)
    assert "6 of 12 heads are induction heads: L1H0, L1H1, L1H2, L1H3 and 2 more (prefix" in card.found


def test_without_ablations_the_score_is_said(circuit: Measures) -> None:
    without = circuit | {"group_ablation": missing("nat", "not applicable", "ablate = nothing")}
    card = claim(without)
    assert "Mean-ablating" not in card.found
    score = "In-context learning score (loss on the first repeat minus loss on the second): 2.56 nat (95 % CI 2.56 to"
    assert score in card.found
    no_logits = without | {"in_context_learning_score": missing("nat", "not applicable", "no logits")}
    assert claim(no_logits).found == "1 of 2 heads is an induction head: L1H0 (prefix matching 1)."


def test_no_head_and_still_in_context_learning(circuit: Measures) -> None:
    card = claim(circuit | {"excess_by_period": changed(circuit["excess_by_period"], 0.0)})
    assert card.found.startswith("None of the 2 heads is an induction head. In-context learning score")
    assert "Mean-ablating" not in card.found
    assert card.rival == (
        "Largest excess over controls: L1H0, 1 (95 % CI 1 to 1). An induction head needs 0.3 at every period."
    )
    assert says(card, "The loss falls on the second repeat without any induction head.")
    assert not says(card, "Heads can stand in for each other")


def test_a_model_that_learns_nothing_has_no_loss_that_falls(circuit: Measures) -> None:
    nothing = changed(circuit["in_context_learning_score"], 0.01)
    card = claim(circuit | {"excess_by_period": changed(circuit["excess_by_period"], 0.0),
                            "in_context_learning_score": nothing})  # fmt: skip
    assert not says(card, "The loss falls on the second repeat")


def test_over_seeds_nothing_is_said_of_heads(circuit: Measures) -> None:
    """Measures of heads are not averaged over seeds; those of the model are."""
    over_seeds = {}
    for name, measure in circuit.items():
        if "head" in measure.axes:
            over_seeds[name] = missing(measure.unit, "not applicable", "heads have no order that seeds share")
        else:
            over_seeds[name] = replace(measure, replicate="seed", n=3)
    card = claim(over_seeds)
    assert PROBE.heads(over_seeds) == {}
    assert card.found.startswith("Heads are not compared over checkpoints;")
    assert "In-context learning score" in card.found
    assert card.rival == "No head is compared with a control over several checkpoints."
    assert card.evidence == "t-interval over 3 seeds."


def test_the_card_is_short() -> None:
    """Found, compared with and from take five lines of a terminal of 80 columns, whose labels take 19 of them."""
    import textwrap

    probe = InductionHeads(periods=(6, 5, 4), n_sequences=8)
    card = claim(measured(planted_model([PREVIOUS_TOKEN], [INDUCTION] * 3 + [SILENT], **SIZES), probe), probe)
    lines = [line for text in (card.found, card.rival, card.evidence) for line in textwrap.wrap(text, 61)]
    assert len(lines) <= 5, lines


# -- the rival ---------------------------------------------------------------------------------------------------------


def test_random_heads_of_the_same_layers_are_the_rival(among_others: Measures, circuit: Measures) -> None:
    assert claim(among_others).rival == "Random heads: 0 nat (minimum to maximum of 8 draws)."
    rises = among_others["group_ablation"]
    parts = {name: rises.sel(replacement=name) for name in ("zero", "mean")}
    groups = parts["mean"].apart()
    groups["induction"] = replace(groups["induction"], nulls={RANDOM_HEADS: np.array([0.1, 0.32, 0.2])})
    some = along("replacement", parts | {"mean": along("group", groups)})
    card = claim(among_others | {"group_ablation": some})
    assert card.rival == "Random heads: 0.1 to 0.32 nat (minimum to maximum of 3 draws)."
    # layers of one head have no others: the excess over the controls is what is left to compare
    assert claim(circuit).rival.startswith("Smallest excess over controls: L1H0, 1 (95 % CI 1 to 1). An induction head")


def test_smaller_random_groups_are_a_limit(among_others: Measures) -> None:
    words = "The random groups have fewer heads than the ablated ones"
    assert not says(claim(among_others), words)
    crowded = measured(planted_model([PREVIOUS_TOKEN], [INDUCTION, INDUCTION, SILENT], **SIZES))
    assert says(claim(crowded), words)


def test_thresholds_stand_in_rival_and_methods(circuit: Measures) -> None:
    card = claim(circuit, replace(PROBE, matching_threshold=0.45, level=0.01))
    assert "exceeds its controls by 0.45 at every period, at a false discovery rate of 0.01" in card.methods
    assert "needs 0.45" in card.rival
    assert "sequences were passed through the model to score 24." in card.methods


# -- limits ------------------------------------------------------------------------------------------------------------


def test_heads_that_match_without_copying_are_named(circuit: Measures) -> None:
    words = "L1H0 matches, but neither weights nor direct effects show that it copies"
    assert not says(claim(circuit), words)
    unclear = {name: changed(circuit[name], 0.0) for name in ("ov_copying_score", "direct_logit_attribution")}
    card = claim(circuit | unclear)
    assert card.found.startswith("None of the 2 heads")
    assert says(card, words)


def test_heads_near_a_threshold_are_named(circuit: Measures) -> None:
    words = "The verdict of L1H0 changes."
    assert words not in claim(circuit).limits
    near = replace(changed(circuit["near_threshold"], [[0.0], [1.0]]), message="the verdict of L1H0 changes")
    assert words in claim(circuit | {"near_threshold": near}).limits


@pytest.mark.parametrize(
    ("periods", "words"), [((6,), "Only 1 period was used."), ((6, 4), "Only 2 periods were used.")]
)
def test_fewer_periods_are_a_limit(circuit: Measures, periods: tuple[int, ...], words: str) -> None:
    of_fewer = {name: circuit[name].at(period=0) if name.endswith("_by_period") else circuit[name] for name in circuit}
    for name in circuit:
        if name.endswith("_by_period"):
            values = circuit[name].values[: len(periods)]
            of_fewer[name] = replace(
                circuit[name], values=values, interval=(values, values), coords={"period": periods}, nulls={},
                no_nulls="made up",
            )  # fmt: skip
    assert says(claim(of_fewer), words)
    assert not any(limit.startswith("Only") for limit in claim(circuit).limits)


def test_without_weights_and_logits_no_head_can_be_called(circuit: Measures) -> None:
    words = "can read neither weights nor logits"
    assert not says(claim(circuit), words)
    unread = {
        name: missing("score", "not applicable", "hidden") for name in ("ov_copying_score", "direct_logit_attribution")
    }
    assert says(claim(circuit | unread), words)


def test_matches_in_the_user_s_own_text_are_a_limit(circuit: Measures) -> None:
    assert says(claim(circuit | {"text_matching_excess": circuit["excess"]}), "matches are single tokens")


def test_anti_induction_heads_are_not_called_induction_heads() -> None:
    probe = replace(PROBE, ablate="nothing")
    measures = measured(planted_model([PREVIOUS_TOKEN], [INDUCTION, ANTI_INDUCTION], **SIZES), probe)
    assert probe.heads(measures)["L1H1"] == "anti-induction"
    assert claim(measures, probe).found.startswith("1 of 4 heads is an induction head: L1H0 (")
