"""Who won: the equals and the simplest of them, and each verdict on both sides of its edge."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pytest
from mesascope.analyses.runs.aggregation import mean_over
from mesascope.probes import Measure
from mesascope.probes.icl_algorithm.names import CLEARLY, EQUAL, FAMILIES, SETTINGS
from mesascope.probes.icl_algorithm.standing import Standing, standing, title
from mesascope.probes.measure import along

MadeUp = Callable[..., dict[str, Measure]]
Number = Callable[..., Measure]


@pytest.fixture
def order(made_up: MadeUp) -> Callable[..., Standing]:
    def made(*arguments: object, **settings: object) -> Standing:
        found = standing(made_up(*arguments, **settings))
        assert found is not None
        return found

    return made


def test_the_simplest_of_the_equals_wins(order: Callable[..., Standing]) -> None:
    """A percent of the variation further away, gradient descent needs four fitted numbers less."""
    found = order()
    assert (found.closest, found.winner, found.verdict) == ("preconditioned", "gd", "agrees")
    assert (found.equals, found.alike, found.rivals) == (("preconditioned", "gd"), ("preconditioned",), ())
    assert found.runner_up == "ridge"


def test_of_the_simplest_the_closest_wins(order: Callable[..., Standing]) -> None:
    assert order({"gd": 0.05, "zero": 0.012, "min_norm": 0.011, "ridge": 0.01}).winner == "min_norm"


@pytest.mark.parametrize(("further", "gap", "equal"), [
    (EQUAL - 1e-9, 0.0, True),
    (EQUAL + 1e-9, 0.0, False),  # a sure gap, and of more than a percent
    (0.03, 0.031, True),  # the interval of the gap covers 0
    (0.03, 0.029, False),
])  # fmt: skip
def test_equal_is_within_a_percent_or_no_sure_gap(
    further: float, gap: float, equal: bool, order: Callable[..., Standing]
) -> None:
    found = order({"preconditioned": 0.03, "gd": 0.03 + further, "zero": 1.0}, gaps=gap)
    assert ("gd" in found.equals) == equal
    assert found.winner == ("gd" if equal else "preconditioned")
    assert found.runner_up == ("zero" if equal else "gd")


def test_an_equal_that_does_not_agree_is_not_named_for_one_that_does(order: Callable[..., Standing]) -> None:
    """Few tasks leave a wide gap open; the rule with no settings then explains nothing of the model."""
    found = order({"gd": 0.04, "min_norm": 0.5, "zero": 1.0}, gaps=0.6)
    assert found.equals == ("gd", "min_norm")
    assert (found.winner, found.rivals, found.verdict) == ("gd", ("min_norm",), "not separated")
    assert order({"gd": 0.4, "min_norm": 0.9, "zero": 1.0}, gaps=0.6).winner == "gd"  # none against closest


@pytest.mark.parametrize(("distance", "alike"), [(0.0401, False), (0.0399, True)])
def test_equals_say_the_same_where_they_are_no_further_from_each_other_than_from_the_model(
    distance: float, alike: bool, order: Callable[..., Standing]
) -> None:
    found = order({"gd": 0.035, "ridge": 0.04, "zero": 1.0}, near={("gd", "ridge"): distance})
    assert (found.winner, found.alike, found.rivals) == ("ridge", ("gd",) if alike else (), () if alike else ("gd",))
    assert found.verdict == ("agrees" if alike else "not separated")


@pytest.mark.parametrize(("distance", "alike"), [(EQUAL - 1e-6, True), (EQUAL + 1e-6, False)])
def test_or_than_a_percent(distance: float, alike: bool, order: Callable[..., Standing]) -> None:
    found = order({"gd": 1e-4, "ridge": 1e-4, "zero": 1.0}, 1e-5, near={("gd", "ridge"): distance})
    assert bool(found.alike) == alike


@pytest.mark.parametrize(("name", "steps", "of_gd", "alike"), [
    ("preconditioned", 0, 1, True), ("preconditioned", 0, 2, False), ("preconditioned_steps", 2, 2, True),
    ("preconditioned_steps", 3, 2, False), ("gdpp", 2, 2, True), ("momentum", 2, 2, True),
    ("gdpp", 3, 2, False), ("gdpp", 2, 1, False), ("newton", 2, 2, False),
])  # fmt: skip
def test_a_family_that_contains_gradient_descent_is_no_rival_of_it(
    name: str, steps: int, of_gd: int, alike: bool, order: Callable[..., Standing]
) -> None:
    """However far the two are from each other: what it can do beyond it brings it no closer to the model."""
    counts = {"gd": (of_gd,) * 3, **({name: (steps,) * 3} if steps else {})}
    fitted = {"newton": 3} if name == "newton" else {}
    found = order({name: 0.035, "gd": 0.04, "zero": 1.0}, near={("gd", name): 0.05}, steps=counts)
    if fitted:  # as many settings as gradient descent: the closer one wins
        assert found.winner == name
    else:
        assert (found.winner, found.alike) == ("gd", (name,) if alike else ())


@pytest.mark.parametrize(("share", "verdict"), [
    (0.0949, "agrees"), (0.0951, "closest"), (0.5049, "closest"), (0.5051, "none"),
])  # fmt: skip
def test_words_are_read_off_the_whole_interval(share: float, verdict: str, order: Callable[..., Standing]) -> None:
    assert order({"gd": share, "zero": 1.0}, 0.005).verdict == verdict


@pytest.mark.parametrize(
    ("further", "verdict"), [(0.06 / CLEARLY - 1e-6, "between"), (0.06 / CLEARLY + 1e-6, "agrees")]
)
def test_between_two_rules(further: float, verdict: str, order: Callable[..., Standing]) -> None:
    assert order({"gd": 0.06, "ridge": further, "zero": 1.0}).verdict == verdict


@pytest.mark.parametrize(("name", "steps", "distance", "other"), [
    ("ridge", 1, 0.0599, "zero"), ("ridge", 1, 0.0601, "ridge"), ("preconditioned_steps", 3, 0.5, "zero"),
    ("preconditioned_steps", 4, 0.5, "preconditioned_steps"),
])  # fmt: skip
def test_between_are_rules_that_say_something_else(
    name: str, steps: int, distance: float, other: str, order: Callable[..., Standing]
) -> None:
    """A rule that is next to the named one, or contains it, leaves no model between the two."""
    counts = {"gd": (3, 3, 3), "preconditioned_steps": (steps,) * 3}
    found = order({"gd": 0.06, name: 0.075, "zero": 1.0}, near={("gd", name): distance}, steps=counts)
    assert found.runner_up == name
    assert (found.other_side, found.verdict) == (other, "agrees" if other == "zero" else "between")


def test_a_rule_without_a_next_one_is_not_between(order: Callable[..., Standing]) -> None:
    found = order({"gd": 0.04})
    assert (found.runner_up, found.verdict) == (None, "agrees")


@pytest.mark.parametrize(("drawn", "verdict"), [
    ([0.3, 0.1], "untrained alike"), ([0.3, 0.1001], "agrees"), ([float("nan"), 0.3], "agrees"),
])  # fmt: skip
def test_a_rule_that_explains_untrained_models_shows_nothing(
    drawn: list[float], verdict: str, order: Callable[..., Standing]
) -> None:
    assert order(untrained={"gd": drawn}).verdict == verdict
    assert order(untrained={"ridge": drawn}).verdict == "agrees"


# -- names of rules ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("name", "steps", "words"), [
    ("gd", (1,), "1 step of gradient descent"),
    ("gd", (2, 5, 9), "2 to 9 steps of gradient descent"),
    ("newton", (1, 2), "1 to 2 iterations of Newton's method"),
    ("ridge", (), "ridge regression"),
    ("task_set", (), "Bayes' rule over the given task set"),
])  # fmt: skip
def test_a_rule_in_a_sentence(name: str, steps: tuple[int, ...], words: str) -> None:
    assert title(name, steps) == words


def test_every_rule_has_a_title_of_its_own() -> None:
    assert len({title(family.name, (2,) * bool(family.tried)) for family in FAMILIES}) == len(FAMILIES)


def test_several_in_a_row(order: Callable[..., Standing]) -> None:
    found = order()
    assert found.titles(()) == ""
    assert found.titles(("gd",)) == "1 step of gradient descent"
    assert (
        found.titles(("ridge", "gd", "zero")) == "ridge regression, 1 step of gradient descent and the zero predictor"
    )


@pytest.mark.parametrize("setting", SETTINGS)
def test_a_setting_at_its_limit(setting: str, order: Callable[..., Standing], one_number: Number) -> None:
    at_end = along("candidate", {"gd": one_number(1e4, message="at an end of the range that was searched")})
    found = order(**{setting: at_end})
    assert found.title("gd") == "1 step of gradient descent (a setting at its limit)"
    assert found.title("ridge") == "ridge regression"
    assert order().title("gd") == "1 step of gradient descent"


@pytest.mark.parametrize(("steps", "most"), [(256, True), (255, False)])
def test_the_most_steps_that_were_tried(steps: int, most: bool, order: Callable[..., Standing]) -> None:
    found = order(steps={"gd": (steps, 100, 256)})
    assert found.at_most_steps("gd") == most
    assert found.title("gd") == ("100 or more" if most else str(steps)) + " steps of gradient descent"
    assert order(steps={"gd": (256, 256, 256)}).title("gd") == "256 steps of gradient descent"
    assert not found.at_most_steps("ridge")


# -- several seeds -----------------------------------------------------------------------------------------------------


def family(*members: Mapping[str, Measure]) -> dict[str, Measure]:
    return {name: mean_over("seed", [member[name] for member in members]) for name in members[0]}


def test_seeds_are_paired(made_up: MadeUp) -> None:
    """What differs between seeds in all rules alike leaves the gap sure."""
    seeds = [{name: share + more for name, share in {"gd": 0.02, "ridge": 0.2, "zero": 0.9}.items()}
             for more in (0.0, 0.01, 0.02)]  # fmt: skip
    found = standing(family(*map(made_up, seeds)))
    assert found is not None
    assert found.equals == ("gd",)
    assert found.gap_between("gd", "ridge").low == pytest.approx(0.09)  # of predictions: half the share here
    opposite = standing(family(made_up(seeds[0]), made_up({"gd": 0.2, "ridge": 0.02, "zero": 0.9})))
    assert opposite is not None
    assert set(opposite.equals) >= {"gd", "ridge"}
    assert opposite.verdict != "agrees"


def test_seeds_that_take_different_steps(made_up: MadeUp) -> None:
    found = standing(family(*(made_up(steps={"gd": (count, 1, 9)}) for count in (3, 2, 3))))
    assert found is not None
    assert found.steps("gd") == (2, 3)
    assert found.title(found.winner) == "2 to 3 steps of gradient descent"
    assert not found.at_most_steps("gd")
    long = standing(family(*(made_up(steps={"gd": (count, 1, 256)}) for count in (3, 256))))
    assert long is not None
    assert long.at_most_steps("gd")
    assert long.title("gd") == "3 or more steps of gradient descent"
    alike = standing(family(made_up(), made_up()))
    assert alike is not None
    assert alike.title(alike.winner) == "1 step of gradient descent"


def test_nothing_is_ranked_where_predictions_are_not_finite(made_up: MadeUp, one_number: Number) -> None:
    nowhere = along("candidate", {"gd": one_number(np.nan, message="NaN"), "zero": one_number(np.nan, message="NaN")})
    assert standing(made_up(prediction_difference=nowhere)) is None
