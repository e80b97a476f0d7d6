"""Verdicts and sentences, read off measures of any numbers."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from mesascope.models.subject import Source
from mesascope.probes import Measure
from mesascope.probes.comparing.numbers import Number
from mesascope.probes.measure import missing, without_interval
from mesascope.probes.shift_battery.claim import battery_claim, of_variance
from mesascope.probes.shift_battery.names import SHIFTS
from mesascope.probes.shift_battery.standing import Standing, in_words

MadeUp = Callable[..., dict[str, Measure]]
NOISY = Source("lsa", "native", record={"recipe": {"tasks": {"noise": 0.3}}})
SHARES = {"gd": 0.002, "preconditioned": 0.002, "gdpp": 0.5, "ridge": 0.4, "min_norm": 0.9, "zero": 1.0}


def verdict(measures: dict[str, Measure]) -> tuple[str, str, tuple[str, ...]]:
    """Of the first shift."""
    found = Standing(measures).verdicts[0]
    return found.called, found.rule, found.others


@pytest.mark.parametrize(("shares", "half", "expected"), [
    (SHARES, 0.0, ("follows", "gd", ())),
    (SHARES | {"gd": 0.0099, "preconditioned": 0.5}, 0.0001, ("follows", "gd", ())),
    (SHARES | {"gd": 0.0099, "preconditioned": 0.5}, 0.0002, ("closest", "gd", ())),
    (SHARES | {"gd": 0.24, "preconditioned": 0.26}, 0.02, ("closest", "gd", ())),
    (SHARES | {"gd": 0.28, "preconditioned": 0.3}, 0.02, ("none", "gd", ())),
    (SHARES | {"ridge": 0.003}, 0.0, ("not separated", "ridge", ("gd", "preconditioned"))),
    (SHARES | {"ridge": 0.009}, 0.0, ("follows", "gd", ())),
    (SHARES | {"ridge": 0.0, "min_norm": 0.0, "gd": 0.1, "preconditioned": 0.1}, 0.0, ("follows", "min_norm", ())),
    (SHARES | {"ridge": 0.001, "bayes": 0.001, "gd": 0.1, "preconditioned": 0.1}, 0.0, ("follows", "bayes", ())),
    (SHARES | {"bayes": 0.001, "min_norm": 0.001, "preconditioned": 0.5}, 0.0,
     ("not separated", "min_norm", ("bayes", "gd"))),
    (dict.fromkeys(SHARES, float("nan")) | {"gd": 0.001}, 0.0, ("follows", "gd", ())),
    (dict.fromkeys(SHARES, float("nan")), 0.0, ("undefined", "", ())),
])  # fmt: skip
def test_what_a_shift_says(
    shares: dict[str, float], half: float, expected: tuple[str, str, tuple[str, ...]], made_up: MadeUp
) -> None:
    assert verdict(made_up(shares, half)) == expected


def test_a_preconditioned_step_is_no_special_case_of_several_steps(made_up: MadeUp) -> None:
    assert verdict(made_up(SHARES, steps={"gd": 2})) == ("not separated", "gd", ("preconditioned",))
    gdpp = SHARES | {"gdpp": 0.002, "preconditioned": 0.5}
    assert verdict(made_up(gdpp, steps={"gd": 2})) == ("follows", "gd", ())


def test_untrained_models_that_follow_as_well(made_up: MadeUp) -> None:
    assert verdict(made_up(SHARES, untrained={"gd": 0.0099})) == ("untrained alike", "gd", ())
    assert verdict(made_up(SHARES, untrained={"gd": 0.02})) == ("follows", "gd", ())
    claim = battery_claim(made_up(SHARES, untrained={"gd": 0.0099}), (NOISY,), None, None)
    assert claim.found.startswith("So do untrained models: 1 step of gradient descent under input scale,")
    assert claim.badge == "No rule is singled out"


def test_shifts_that_cannot_be_made_do_not_count(made_up: MadeUp) -> None:
    gone = {f"unexplained_{name}": missing("share", "not applicable", "why") for name in ("covariance", "prior_mean")}
    order = Standing(made_up(SHARES, **gone))
    assert len(order.verdicts) == len(SHIFTS) - 2
    assert battery_claim(order.measures, (NOISY,), None, None).badge.endswith("under 5 of 5 shifts")


# -- sentences ---------------------------------------------------------------------------------------------------------


def varied(*closest: tuple[str, float]) -> dict[str, tuple[float, ...]]:
    """Shares by rule: under each shift one rule leaves so much, and the others .9."""
    rules = ("gd", "gdpp", "ridge", "min_norm")
    return {rule: tuple(share if name == rule else 0.9 for name, share in closest) for rule in rules}


def test_rules_of_different_shifts_are_told_apart(made_up: MadeUp) -> None:
    shares = varied(
        ("gd", 0.001), ("gd", 0.001), ("gd", 0.001), ("min_norm", 0.0), ("gd", 0.05), ("gdpp", 0.2), ("ridge", 0.6)
    )
    found = battery_claim(made_up(shares), (NOISY,), None, None).found
    assert found == (
        "Follows 1 step of gradient descent under 3 of 7 shifts (input scale, context length and label noise)."
        " Minimum-norm least squares under covariance."
        " Closest, but not followed: 1 step of gradient descent under random covariance (5.0 % unexplained)."
        " Closest, but not followed: 2 steps of GD++ under query scale (20 % unexplained)."
        " The closest leaves 60 % unexplained under mean teacher."
    )


def test_the_rule_that_readers_ask_for_is_named_where_it_fails_everywhere(made_up: MadeUp) -> None:
    assert battery_claim(made_up(SHARES), (NOISY,), None, None).found == (
        "Follows 1 step of gradient descent under 7 of 7 shifts. Minimum-norm least squares under none."
    )
    solved = SHARES | {"gd": 0.5, "preconditioned": 0.5, "min_norm": 0.0}
    assert battery_claim(made_up(solved), (NOISY,), None, None).found.endswith("7 shifts. Gradient descent under none.")
    some = {**SHARES, "min_norm": (0.9, 0.9, 0.002, 0.9, 0.9, 0.9, 0.9)}
    claim = battery_claim(made_up(some), (NOISY,), None, None)
    assert "under none" not in claim.found
    assert (
        "Label noise does not separate minimum-norm least squares from 1 step of gradient descent and 1 step of"
        " preconditioned gradient descent, at most 0.4 % of the variance apart." in claim.found
    )


def test_the_next_rule_is_of_another_kind_and_its_worst_shift_is_named(made_up: MadeUp) -> None:
    shares = {**SHARES, "gdpp": 0.02, "ridge": (0.1, 0.2, 40.0, 0.3, 0.1, 0.1, 0.1), "min_norm": 200_000.0}
    claim = battery_claim(made_up(shares), (NOISY,), None, None)
    assert claim.rival == (
        "Next: ridge regression. Under label noise, where it is furthest from the model, it leaves 40 times the"
        " variance unexplained; 1 step of gradient descent leaves 0.2 %."
    )
    none = battery_claim(made_up({"gd": 0.5, "ridge": 0.4, "zero": 0.1}), (NOISY,), None, None)
    assert none.rival.startswith("Nearest on the whole: ridge regression. Under input scale")
    alone = battery_claim(made_up({"gd": 0.001, "zero": 0.9}), (NOISY,), None, None)
    assert alone.rival == "Next: none. No rule of another kind has finite answers."


def test_evidence_and_methods(made_up: MadeUp) -> None:
    claim = battery_claim(made_up(SHARES), (NOISY,), None, None)
    assert claim.evidence == (
        "500 tasks, the same at every strength of every shift. As inputs shrink by c the response goes as c to"
        " the power 2.00 (95 % CI 1.99 to 2.01): 2 for one step of gradient descent, 0 for least squares. The order of"
        " the pairs makes less than 0.1 % of the answers' variance."
    )
    assert "at most 1 % at every strength" in claim.methods
    assert claim.methods.startswith("Tasks of the training law were shifted in input scale, context length,")
    assert battery_claim(made_up(SHARES), (NOISY,), "own.npz", None).methods.startswith("Tasks supplied by the user")


LIMITS = {
    "does not show that the model computes": (SHARES, {"gd": 0.5, "zero": 1.0}),
    "With fixed weights a layer of linear attention sums": (SHARES, SHARES | {"gd": 0.5, "preconditioned": 0.5}),
    "Without noise in training, Bayes' rule": (SHARES, SHARES | {"bayes": 0.3}),
}


@pytest.mark.parametrize("words", LIMITS)
def test_each_limit_under_its_own_condition(words: str, made_up: MadeUp) -> None:
    there, absent = (battery_claim(made_up(shares), (NOISY,), None, None).limits for shares in LIMITS[words])
    assert sum(words in limit for limit in there) == 1
    assert not any(words in limit for limit in absent)


def test_limits_of_laws_files_and_signs(made_up: MadeUp) -> None:
    def said(
        words: str, measures: dict[str, Measure], sources: tuple[Source, ...] = (NOISY,), tasks: str | None = None
    ) -> bool:
        return any(words in limit for limit in battery_claim(measures, sources, tasks, None).limits)

    plain, unknown = made_up(SHARES), Source("lsa", "native")
    assert said("not recorded", plain, (unknown,))
    assert not said("not recorded", plain)
    assert not said("not recorded", plain, (unknown,), "own.npz")
    assert said(
        "no shift of their covariance, random covariance or mean teacher, and no longer", plain, tasks="own.npz"
    )
    assert said("scaled along", plain, tasks="own.npz")
    assert not said("scaled along", plain)
    corrupted = Source("lsa", "native", record={"recipe": {"tasks": {"n_corrupted": 2}}})
    assert said("replaces labels by noise", plain, (corrupted,))
    assert said("On tasks as in training no rule agrees", made_up(SHARES, training=0.02))
    assert not said("On tasks as in training no rule agrees", plain)
    near = SHARES | {"min_norm": 0.001, "preconditioned": 0.5}
    assert said("256 steps of gradient descent are the end", made_up(near, steps={"gd": 256}))
    assert not said("256 steps of gradient descent are the end", made_up(near, steps={"gd": 192}))
    solved = near | {"gd": 0.5}
    assert not said("256 steps of gradient descent are the end", made_up(solved, steps={"gd": 256}))
    turned = without_interval(np.array(-1.0), "sign", message="found", no_nulls="none")
    claim = battery_claim(made_up(SHARES, readout_sign=turned), (NOISY,), None, None)
    assert claim.found.startswith("Sign turned. Follows 1 step")
    assert any("is the negative of a prediction" in limit for limit in claim.limits)


def test_words() -> None:
    assert in_words([]) == ""
    assert in_words(["a"]) == "a"
    assert in_words(["a", "b", "c"]) == "a, b and c"
    assert of_variance(Number(0.05, 0.04, 0.06)) == "5.0 % of the variance"
    assert of_variance(Number(12.3, 12, 13)) == "12 times the variance"
    assert of_variance(Number(1e12, 1e11, 1e13)) == "over 100,000 times the variance"
