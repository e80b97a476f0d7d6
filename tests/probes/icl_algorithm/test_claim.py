"""The claim card: every sentence and every limit where it holds, and only there."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from mesascope.analyses.runs.aggregation import mean_over
from mesascope.models import Source
from mesascope.probes import Claim, Measure
from mesascope.probes.icl_algorithm.claim import contest_claim
from mesascope.probes.measure import along, missing, without_interval

MadeUp = Callable[..., dict[str, Measure]]
Number = Callable[..., Measure]
SOURCE = Source("model", layout="mesascope", notes=("a note",))
FOUND = "The model agrees with 1 step of gradient descent, leaving 4.0 % (95 % CI 3.5 to 4.5) unexplained."
ALIKE = " The same on these tasks: 1 step of preconditioned gradient descent."


def card(measures: Mapping[str, Measure], tasks: str | None = None, sign: int | None = None) -> Claim:
    return contest_claim(measures, (SOURCE, SOURCE), tasks, sign)


def limits(measures: Mapping[str, Measure], tasks: str | None = None, sign: int | None = None) -> str:
    return " ".join(card(measures, tasks, sign).limits)


# -- the verdict -------------------------------------------------------------------------------------------------------


def test_a_rule_that_agrees(made_up: MadeUp) -> None:
    claim = card(made_up())
    assert claim.found == FOUND + ALIKE
    assert claim.badge == "Agrees with 1 step of gradient descent, 4.0 % unexplained"
    assert claim.rival == (
        "Next: ridge regression (40.0 % unexplained). Gap in prediction difference: 0.360 (95 % CI 0.360 to 0.361)."
    )
    assert claim.evidence == (
        "500 tasks that the judged rules were not fitted on. Sensitivities: cosine 0.998, norm ratio 0.97."
    )
    assert card(made_up({"gd": 0.04, "zero": 1.0})).found == FOUND
    assert "performs" not in " ".join((claim.found, *claim.limits))


@pytest.mark.parametrize(("shares", "settings", "found", "badge"), [
    (
        {"ridge": 0.55, "gd": 0.6, "zero": 1.0}, {},
        "No rule explains the model: even ridge regression leaves 55 % (95 % CI 55 to 56) unexplained.",
        "No rule explains the model",
    ),
    (
        {"gd": 0.2, "ridge": 0.3, "zero": 1.0}, {},
        "Closest: 1 step of gradient descent, but it leaves 20.0 % (95 % CI 19.5 to 20.5) unexplained.",
        "Closest: 1 step of gradient descent, 20.0 % unexplained",
    ),
    (
        {"gd": 0.2, "ridge": 0.203, "newton": 0.204, "zero": 1.0}, {},
        "Closest: ridge regression, but it leaves 20 % (95 % CI 20 to 21) unexplained. As close: 1 step of gradient"
        " descent and 2 iterations of Newton's method.",
        "Closest: ridge regression, 20 % unexplained",
    ),
    (
        {"gd": 0.04, "ridge": 0.045, "zero": 1.0}, {},
        "These tasks do not separate ridge regression from 1 step of gradient descent (4.5 % (95 % CI 4.0 to 5.0)"
        " unexplained).",
        "Not separated: ridge regression, 1 step of gradient descent",
    ),
    (
        {"gd": 0.06, "ridge": 0.08, "zero": 1.0}, {},
        "Between rules: 1 step of gradient descent leaves 6.0 % (95 % CI 5.5 to 6.5) unexplained, and ridge regression"
        " 8.0 %.",
        "Between rules",
    ),
    (
        {"gd": 0.04, "zero": 1.0}, {"untrained": {"gd": [0.05, 0.3]}},
        f"{FOUND} So do untrained models of its architecture, which know no rule.",
        "Agrees with 1 step of gradient descent, and so do untrained models",
    ),
])  # fmt: skip
def test_other_verdicts(
    shares: dict[str, float], settings: dict[str, Any], found: str, badge: str, made_up: MadeUp
) -> None:
    claim = card(made_up(shares, **settings))
    assert (claim.found, claim.badge) == (found, badge)


def test_where_nothing_explains_the_closest_is_named(made_up: MadeUp) -> None:
    claim = card(made_up({"preconditioned": 0.9, "zero": 0.905, "min_norm": 1.2}))
    assert "even 1 step of preconditioned gradient descent leaves 90.0 %" in claim.found
    assert claim.rival.startswith("Next: minimum-norm least squares (120.0 % unexplained).")


def test_no_next_rule(made_up: MadeUp) -> None:
    assert card(made_up({"gd": 0.04, "ridge": 0.041})).rival == "Next: none. Every rule is as close."


def test_predictions_that_are_not_finite_or_do_not_vary(made_up: MadeUp, one_number: Number) -> None:
    nowhere = along("candidate", {"gd": one_number(np.nan, message="NaN"), "zero": one_number(np.nan, message="NaN")})
    constant = missing("share", "undefined", "the model's predictions do not vary between these tasks")
    for changed, badge, words in (
        ({"prediction_difference": nowhere}, "Predictions are not finite", "are not finite, so mesascope compared"),
        ({"unexplained_share": constant}, "Predictions do not vary", "do not vary between these tasks"),
    ):
        claim = card(made_up(**changed))
        assert claim.badge == badge
        assert words in claim.found
        assert (claim.rival, claim.limits) == ("No rule was ranked.", ("a note",))


def test_sensitivities_that_are_missing_are_not_counted(made_up: MadeUp) -> None:
    reason = "no gradient reaches the query"
    none = along("candidate", dict.fromkeys(("gd", "zero"), missing("cosine", "not applicable", reason)))
    without = made_up({"gd": 0.04, "zero": 1.0}, cosine=none, norm_ratio=none)
    assert card(without).evidence == "500 tasks that the judged rules were not fitted on."
    assert f"The verdict rests on predictions alone: {reason}." in card(without).limits
    assert "predictions alone" not in limits(made_up())


# -- limits ------------------------------------------------------------------------------------------------------------


def test_agreement_is_no_mechanism(made_up: MadeUp) -> None:
    words = "does not show that the model computes it in this way"
    assert words in limits(made_up())
    assert words in limits(made_up(untrained={"gd": [0.05]}))
    for shares in ({"gd": 0.2, "zero": 1.0}, {"gd": 0.8, "zero": 1.0}, {"gd": 0.06, "ridge": 0.08, "zero": 1.0}):
        assert words not in limits(made_up(shares))


def test_where_the_tasks_come_from(made_up: MadeUp) -> None:
    drawn, own = card(made_up()), card(made_up(), tasks="own.npz")
    assert "On tasks of another law the order of the rules may be another." in drawn.limits
    assert "The law of the tasks in the file is not known, so nothing is said of others like them." in own.limits
    assert not set(drawn.limits[2:3]) & set(own.limits)
    assert "(freshly drawn)" in drawn.methods
    assert "(supplied by the user)" in own.methods


def test_the_winner_is_not_the_closest(made_up: MadeUp) -> None:
    words = (
        "Closest of all is 1 step of preconditioned gradient descent (3.4 % against 4.0 % unexplained), with 6 fitted"
        " settings instead of 2."
    )
    shares = {"gd": 0.04, "preconditioned": 0.034, "zero": 1.0}
    assert words in card(made_up(shares)).limits
    assert "Closest of all" not in limits(made_up(shares | {"preconditioned": 0.0399}))  # reads the same
    assert "Closest of all" not in limits(made_up(shares | {"preconditioned": 0.041}))
    assert "Closest of all" not in limits(made_up({"gd": 0.806, "preconditioned": 0.8, "zero": 1.2}))


@pytest.mark.parametrize(("steps", "told"), [((5, 4, 8), True), ((5, 5, 5), False)])
def test_how_well_the_number_of_steps_is_known(steps: tuple[int, int, int], told: bool, made_up: MadeUp) -> None:
    found = limits(made_up(steps={"gd": steps}))
    assert ("4 to 8 steps do about as well as 5 on the tuning tasks." in found) == told
    assert ("do about as well" in found) == told
    assert "do about as well" not in limits(made_up({"gd": 0.8, "zero": 1.0}, steps={"gd": steps}))
    assert "do about as well" not in limits(made_up({"ridge": 0.04, "gd": 0.3}, steps={"gd": steps}))


@pytest.mark.parametrize(("steps", "told"), [(256, True), (192, False)])
def test_the_end_of_the_search(steps: int, told: bool, made_up: MadeUp) -> None:
    words = f"{steps} steps are the end of the search. More may come closer."
    taken = {"gd": (steps, steps, steps)}
    assert (words in limits(made_up({"gd": 0.04, "zero": 1.0}, steps=taken))) == told
    assert "end of the search" not in limits(made_up({"ridge": 0.04, "gd": 0.3, "zero": 1.0}, steps=taken))
    assert "end of the search" not in limits(made_up({"gd": 0.8, "zero": 1.0}, steps=taken))


def test_the_preconditioner_is_many_numbers(made_up: MadeUp) -> None:
    words = "The preconditioner has 6 fitted numbers."
    assert words in limits(made_up({"preconditioned": 0.04, "zero": 1.0}))
    rival = {"near": {("gd", "preconditioned"): 0.5}, "steps": {"gd": (2, 2, 2)}}
    assert words in limits(made_up(**rival))
    assert words not in limits(made_up())


def test_rules_that_diverge_are_not_ranked(made_up: MadeUp, one_number: Number) -> None:
    measures = made_up({"gd": 0.04, "ridge": 0.3, "zero": 1.0})
    difference = measures["prediction_difference"]
    parts = {name: difference.sel(candidate=name) for name in ("gd", "zero")}
    diverging = along("candidate", {**parts, "ridge": missing("label", "undefined", "not finite")})
    words = "Not ranked, because their predictions are not finite everywhere: ridge regression."
    claim = card(measures | {"prediction_difference": diverging})
    assert words in claim.limits
    assert claim.rival.startswith("Next: the zero predictor")
    assert "Not ranked" not in limits(measures)


def test_a_task_set(made_up: MadeUp) -> None:
    words = "Bayes' rule over a finite task set was not in the contest"
    assert words in limits(made_up())
    with_set = made_up({"gd": 0.3, "task_set": 0.04, "zero": 1.0}, steps={"gd": (1, 1, 1)}, near={})
    assert words not in limits(with_set)
    assert card(with_set).badge.startswith("Agrees with Bayes' rule over the given task set, 4.0 %")


def test_how_the_model_is_read(made_up: MadeUp, one_number: Number) -> None:
    layouts = {"token_layout": ("joint-3", "joint-0")}

    def read(used: tuple[float, float], gain: float) -> str:
        where = without_interval(np.array(used), "1", ("token_layout",), layouts, message="found", no_nulls="none")
        share = without_interval(
            np.array([0.1, 0.9]), "share", ("token_layout",), layouts, message="x", no_nulls="none"
        )
        return limits(made_up(token_layout=where, label_share=share, layout_gain=one_number(gain, 0.1)))

    assert "the model reads joint tokens with the label in slot 0." in read((0.0, 1.0), 0.8)
    assert "mesascope assumed joint tokens with the label in slot 3." in read((1.0, 0.0), 0.05)
    assert "reads" not in read((1.0, 0.0), 0.8) + limits(made_up())
    assert "assumed" not in read((1.0, 0.0), 0.8) + limits(made_up())


def test_a_turned_sign(made_up: MadeUp) -> None:
    turned = made_up(readout_sign=without_interval(np.array(-1.0), "sign", message="found", no_nulls="none"))
    assert card(turned).found == f"Sign turned. {FOUND}{ALIKE}"
    words = "the output is the negative of a prediction. Every number is that of the turned model."
    assert words in limits(turned)
    assert "You gave the sign -1. Every number is that of the turned model." in limits(turned, sign=-1)
    assert "turned" not in limits(made_up(), sign=1) + card(made_up()).found


def test_what_the_order_of_pairs_leaves_unexplained_at_least(made_up: MadeUp, one_number: Number) -> None:
    words = (
        "The model's answers change with the order of the pairs: every rule that ignores it leaves at least 13 %"
        " (95 % CI 12 to 14) unexplained."
    )
    assert words in card(made_up(order_share=one_number(0.13, 0.01))).limits
    absent = missing("share", "undefined", "a prediction is not finite")
    for share in (one_number(0.009, 0.001), one_number(1e-16), absent):
        assert "order of the pairs" not in limits(made_up(order_share=share))


def test_notes_stand_once(made_up: MadeUp) -> None:
    assert card(made_up()).limits.count("a note") == 1


# -- methods, and several seeds ----------------------------------------------------------------------------------------


def test_methods_say_what_was_done(made_up: MadeUp, one_number: Number) -> None:
    methods = card(made_up()).methods
    assert methods.startswith("5 families of algorithms")
    assert "differ by at most 0.01, or by no sure gap, are equal" in methods
    assert methods.endswith("95 % confidence intervals: paired bootstrap over 500 tasks.")
    assert "untrained" not in methods
    drawn = one_number(0.1, nulls={"untrained": np.zeros(10)}, no_nulls="")
    with_untrained = made_up({"gd": 0.04}, loss=along("candidate", {"model": drawn, "gd": one_number(0.2)}))
    assert "10 untrained initialisations of the architecture, and context labels" in card(with_untrained).methods


def test_over_seeds_nothing_is_said_of_tasks(made_up: MadeUp, one_number: Number) -> None:
    members = [
        made_up(
            {"gd": 0.04 + more, "ridge": 0.3 + more, "zero": 1.0},
            steps={"gd": (steps, 1, 9)},
            loss=along("candidate", {"model": one_number(0.1 + more), "gd": one_number(0.2)}),
        )
        for more, steps in ((0.0, 2), (0.003, 2), (0.002, 3))
    ]
    sign = without_interval(np.array(-1.0), "sign", message="found", no_nulls="none")
    members[1]["readout_sign"] = sign
    claim = card({name: mean_over("seed", [member[name] for member in members]) for name in members[0]})
    assert claim.found.startswith("Sign turned in 1 of 3 seeds. The model agrees with 2 to 3 steps of gradient descent")
    assert claim.evidence.startswith("3 seeds. Sensitivities: cosine 0.998")
    assert claim.methods.endswith("95 % confidence intervals: t-interval over 3 seeds.")
    assert not any("do about as well" in limit for limit in claim.limits)
