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
from mesascope.probes.induction_heads.names import PERMUTED, RANDOM_HEADS
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
    assert card.found.startswith(
        "1 of 2 heads is an induction head: L1H0 (strong: strength 1). Mean-ablating it raises"
    )
    assert "the loss on the second repeat by 2.56 nat (95 % CI 2.5" in card.found  # log 13
    assert card.badge == "1 of 2 heads is an induction head"
    assert "In-context learning score" not in card.found  # the ablation says what it is for
    assert card.evidence == "Bootstrap over 24 sequences (periods 6, 5 and 4)."
    assert says(card, "made here")
    assert says(card, "random tokens. The verdicts do not show what a head does on natural text")
    assert says(card, "Heads can stand in for each other.")
    assert not says(card, "own text")
    assert len(card.citations) == 2


def test_several_induction_heads_are_named_and_ablated_together(among_others: Measures) -> None:
    card = claim(among_others)
    assert card.found.startswith("2 of 8 heads are induction heads: L1H0, L1H1 (strong: strength 1).")
    assert "Mean-ablating all of them raises the loss on the second repeat by" in card.found
    assert card.badge == "2 of 8 heads are induction heads"


def test_many_heads_are_counted() -> None:
    subject = planted_model([PREVIOUS_TOKEN], [INDUCTION] * 6, **SIZES)
    probe = replace(PROBE, ablate="nothing", periods=(6, 4))
    card = claim(measured(subject, probe), probe)
    assert "6 of 12 heads are induction heads: L1H0, L1H1, L1H2, L1H3 and 2 more (strong" in card.found


def test_without_ablations_the_score_is_said(circuit: Measures) -> None:
    without = circuit | {"group_ablation": missing("nat", "not applicable", "ablate = nothing")}
    card = claim(without)
    assert "Mean-ablating" not in card.found
    score = "In-context learning score (loss on the first repeat minus loss on the second): 2.56 nat (95 % CI 2.56 to"
    assert score in card.found
    assert card.found.endswith(
        f"; {2.565 - circuit['loss_shuffled_repeat'].estimate:.3g} nat with the repeat shuffled."
    )
    no_logits = without | {"in_context_learning_score": missing("nat", "not applicable", "no logits")}
    assert claim(no_logits).found == "1 of 2 heads is an induction head: L1H0 (strong: strength 1)."


IN_ORDER, IN_ANY_ORDER = "where the tokens' order is worth", "but as much when its tokens are shuffled"


def test_no_head_and_still_in_context_learning(circuit: Measures) -> None:
    nobody = circuit | {"excess_by_period": changed(circuit["excess_by_period"], 0.0)}
    card = claim(nobody)
    assert card.found.startswith("None of the 2 heads is an induction head. In-context learning score")
    assert card.badge == "None of the 2 heads is an induction head"
    assert "Mean-ablating" not in card.found
    by_period = circuit["excess_by_period"].nulls[PERMUTED]
    reached = max(np.quantile(by_period[:, place], 0.99) for place in range(3))
    assert card.rival.startswith("Largest excess over controls: L1H0, 1 (95 % CI 1 to 1). Heads with permuted weights")
    assert card.rival.endswith(f"reach {reached:.3g}.")
    assert says(card, IN_ORDER)
    assert not says(card, IN_ANY_ORDER)
    assert not says(card, "Heads can stand in for each other")
    in_any_order = claim(nobody | {"order_gain": changed(circuit["order_gain"], 0.01)})
    assert says(in_any_order, IN_ANY_ORDER)
    assert not says(in_any_order, IN_ORDER)
    gain = replace(circuit["order_gain"], interval=(np.array(-0.5), np.array(0.9)))
    left_open = claim(nobody | {"order_gain": gain})
    assert says(left_open, "Whether the order of its tokens is used is not told.")
    assert not says(left_open, IN_ANY_ORDER)
    assert not says(in_any_order, "is not told")
    assert not says(claim(circuit), IN_ORDER)
    assert not says(claim(circuit | {"order_gain": changed(circuit["order_gain"], 0.01)}), IN_ANY_ORDER)


def test_a_model_that_learns_nothing_has_no_loss_that_falls(circuit: Measures) -> None:
    nothing = changed(circuit["in_context_learning_score"], 0.01)
    card = claim(circuit | {"excess_by_period": changed(circuit["excess_by_period"], 0.0),
                            "in_context_learning_score": nothing})  # fmt: skip
    assert not says(card, "The loss falls on the second repeat")


def test_the_strongest_heads_are_ablated_where_nobody_is_named(circuit: Measures) -> None:
    """A second layer that matches with two heads and copies with neither, by weights or by effect: no name."""
    probe = replace(PROBE, copying_threshold=1.0)
    measures = measured(induction_circuit(**SIZES), probe)
    unread = {"ov_copying_score": 0.0, "direct_logit_attribution": 0.0}
    measures |= {name: changed(measures[name], value) for name, value in unread.items()}
    rise = circuit["group_ablation"].sel(replacement="mean", group="induction")
    parts = {"induction": missing("nat", "not applicable", "none"), "strongest unnamed": rise}
    one = along("replacement", {name: along("group", parts) for name in ("zero", "mean")})
    card = claim(measures | {"group_ablation": one}, probe)
    assert card.found.startswith("None of the 2 heads")
    words = "Mean-ablating the heads with the largest excess {} the loss on the second repeat: "
    assert card.rival.startswith(words.format("raises") + "2.56 nat (95 % CI")
    flat = along("replacement", {"mean": along("group", parts | {"strongest unnamed": changed(rise, 0.0)})})
    card = claim(measures | {"group_ablation": flat}, probe)
    assert card.rival.startswith(words.format("does not clearly raise") + "0 nat")


def test_an_ablation_that_costs_nothing_is_said_so(circuit: Measures) -> None:
    rises = circuit["group_ablation"]
    free = {name: along("group", {"induction": changed(rises.sel(replacement=name, group="induction"), 0.0)})
            for name in ("zero", "mean")}  # fmt: skip
    card = claim(circuit | {"group_ablation": along("replacement", free)})
    assert "Mean-ablating it does not clearly raise the loss on the second repeat: 0 nat" in card.found
    assert "raises" not in card.found


def test_weak_heads_are_called_weak() -> None:
    probe = replace(PROBE, ablate="nothing")
    weak, moderate = (replace(INDUCTION, strength=strength) for strength in (0.2, 0.5))
    card = claim(measured(planted_model([PREVIOUS_TOKEN], [weak], **SIZES), probe), probe)
    assert card.found.startswith("1 of 2 heads is an induction head: L1H0 (weak: strength 0.2).")
    card = claim(measured(planted_model([PREVIOUS_TOKEN], [weak, moderate], **SIZES), probe), probe)
    assert card.found.startswith(
        "2 of 4 heads are induction heads: L1H0, L1H1 (weak to moderate: strength 0.2 to 0.5)."
    )


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
    assert card.badge == "Heads are not compared"
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
    assert claim(circuit).rival.startswith("Smallest excess over controls: L1H0, 1 (95 % CI 1 to 1). Heads with")


def test_smaller_random_groups_are_a_limit(among_others: Measures) -> None:
    words = "The random groups have fewer heads than the ablated ones"
    assert not says(claim(among_others), words)
    crowded = measured(planted_model([PREVIOUS_TOKEN], [INDUCTION, INDUCTION, SILENT], **SIZES))
    assert says(claim(crowded), words)


def test_thresholds_stand_in_the_methods(circuit: Measures) -> None:
    card = claim(circuit, replace(PROBE, matching_threshold=0.45, level=0.01, weak_below=0.25, strong_from=0.8))
    assert "has a 95 % interval above 0.45" in card.methods
    assert "at every period, at a false discovery rate of 0.01" in card.methods
    assert "weak below 0.25 and strong from 0.8" in card.methods
    assert "On the text" not in card.methods
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


RANDOM, TEXT = "The sequences are random tokens.", "matches are single tokens"


def on_text(circuit: Measures, excess: Any, n: int = 40) -> Measures:
    """The measures of a run with a text, where L0H0 and L1H0 match so much."""
    values = np.array(excess, dtype=float).reshape(2, 1)
    text = replace(circuit["excess"], values=values, interval=(values, values), nulls={}, no_nulls="made up")
    p = replace(circuit["p_adjusted"], values=np.where(values > 0, 0.001, 1.0), replicate="window", n=n)
    return circuit | {"text_matching_excess": text, "text_p_adjusted": p}


def test_a_text_says_which_tokens_the_model_knows(circuit: Measures) -> None:
    without, given = claim(circuit), claim(on_text(circuit, [0, 0.9]))
    assert says(without, RANDOM)
    assert says(without, "Without a text mesascope cannot tell which token ids the model knows.")
    assert not says(without, TEXT)
    assert says(given, TEXT)
    assert not says(given, RANDOM)
    assert not says(given, "cannot tell which token ids")
    assert "On the text a head may match, too" in given.methods
    assert given.evidence == "Bootstrap over 24 sequences (periods 6, 5 and 4) and 24 sequences of text."
    assert "of text" not in without.evidence


def test_ids_that_were_left_out_are_named(circuit: Measures) -> None:
    words = "Left out because their embedding rows are equal: 7 and 9."
    assert not says(claim(circuit), "Left out")
    left_out = replace(circuit["token_ids"], values=np.array([11.0, 2.0]), message=words[:1].lower() + words[1:-1])
    assert words in claim(circuit | {"token_ids": left_out}).limits


def test_heads_that_match_on_one_of_both_are_named(circuit: Measures) -> None:
    on_both = claim(on_text(circuit, [0, 0.9]))
    assert not says(on_both, "but not on")
    assert "on the text" not in on_both.found
    random_only = claim(on_text(circuit, [0, 0]))
    assert says(random_only, "L1H0 matches on random tokens, but not on the text.")
    nowhere = {"excess_by_period": changed(circuit["excess_by_period"], 0.0)}
    text_only = claim(on_text(circuit, [0, 0.9]) | nowhere)
    assert says(text_only, "L1H0 matches on the text, but not on random tokens.")
    assert text_only.found.startswith("1 of 2 heads is an induction head on the text: L1H0 (strong: strength 0.9).")


def test_a_text_that_is_too_short_says_so(circuit: Measures) -> None:
    words = "The text is too short to call heads by it: 3 windows, the test of all heads takes 9."
    assert words in claim(on_text(circuit, [0, 0.9], n=3)).limits
    assert not says(claim(on_text(circuit, [0, 0.9])), "too short")
    assert not says(claim(on_text(circuit, [0, 0], n=3)), "but not on the text")  # which was not tested
    names = ("text_matching_excess", "text_p_adjusted")
    no_match = circuit | {name: missing("probability", "undefined", "no token comes back") for name in names}
    assert not says(claim(no_match), "but not on the text")
    assert not says(claim(no_match), "too short")


def test_anti_induction_heads_are_not_called_induction_heads() -> None:
    probe = replace(PROBE, ablate="nothing")
    measures = measured(planted_model([PREVIOUS_TOKEN], [INDUCTION, ANTI_INDUCTION], **SIZES), probe)
    assert probe.heads(measures)["L1H1"] == "anti-induction"
    assert claim(measures, probe).found.startswith("1 of 4 heads is an induction head: L1H0 (")
    assert "anti" not in claim(measures, probe).found
    alone = measured(planted_model([PREVIOUS_TOKEN], [replace(ANTI_INDUCTION, strength=0.26)], **SIZES), probe)
    words = "None of the 2 heads is an induction head. 1 is an anti-induction head: L1H0 (weak: strength 0.26)."
    assert claim(alone, probe).found.startswith(words)
