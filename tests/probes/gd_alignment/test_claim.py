"""The claim card: sentences that say what the measures say, and not more."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from mesascope.analyses.commands import terminal
from mesascope.models import Source
from mesascope.probes import Claim, Measure
from mesascope.probes.comparing.settings import AT_END
from mesascope.probes.gd_alignment.claim import gd_claim
from mesascope.probes.measure import along, missing, without_interval
from mesascope.probes.regression.reading_measures import AXIS, GIVEN
from rich.console import Console

NAMES = ("gd", "zero", "mean_label", "ridge", "min_norm", "gd_1", "gd_2")
GAPS = {"gd": 0.02, "zero": 0.5, "mean_label": 0.6, "ridge": 0.2, "min_norm": 0.4, "gd_1": 0.021, "gd_2": 0.1}
NULLS = {"untrained": np.linspace(-0.1, 0.1, 50), "shuffled labels": np.full(20, 0.12)}


def scalar(value: float, width: float = 0.01, **changed: Any) -> Measure:
    ends = np.array(value - width), np.array(value + width)
    settings: dict[str, Any] = {"unit": "label", "replicate": "task", "n": 500, "no_nulls": "none exist"}
    return Measure(np.array(value), interval=ends, **(settings | changed))


def of_candidates(parts: Mapping[str, Measure]) -> Measure:
    return along("candidate", parts)


def measures(gaps: Mapping[str, float] = GAPS, uncertainty: float = 0.01, alike: float = 0.5) -> dict[str, Measure]:
    """What one checkpoint's findings look like, as far as the claim reads them."""
    column = np.array([gaps[name] for name in NAMES])
    margins = column[None, :] - column[:, None]
    axes, coords = ("candidate", "other_candidate"), {"candidate": NAMES, "other_candidate": NAMES}
    square: dict[str, Any] = {"replicate": "task", "n": 500, "no_nulls": "none", "axes": axes, "coords": coords}
    cosines = np.full((7, 7), alike)
    return {
        "prediction_difference": of_candidates({name: scalar(gap) for name, gap in gaps.items()}),
        "unexplained_share": of_candidates({name: scalar(2 * gap, 2 * uncertainty) for name, gap in gaps.items()}),
        "readout_sign": scalar(1.0, np.nan),
        "token_layout": without_interval(
            np.ones(1), "1: used", (AXIS,), {AXIS: ("joint-10",)}, message=GIVEN, no_nulls=GIVEN
        ),
        "layout_gain": missing("share", "not applicable", GIVEN),
        "constructed_steps": scalar(1.0, np.nan),
        "cosine": of_candidates({name: scalar(0.98765, nulls=NULLS) for name in gaps}),
        "closeness_margins": Measure(margins, "label", (margins - uncertainty, margins + uncertainty), **square),
        "candidate_cosines": Measure(cosines, "cosine", (cosines, cosines), **square),
        "loss": of_candidates({"model": scalar(0.2), "gd": scalar(0.2), "zero": scalar(0.4)}),
        "barrier": of_candidates({"gd": along("path", {"aligned": scalar(0.0)})}),
        "learning_rate": of_candidates({"gd": scalar(6.06, 0.1), "gd_1": scalar(6.0), "gd_2": scalar(3.0)}),
        "ridge_penalty": scalar(0.3),
    }


def with_loss(**changed: Any) -> dict[str, Measure]:
    """The measures, with another loss of the model."""
    return measures() | {"loss": of_candidates({"model": scalar(0.2, **changed), "zero": scalar(0.4, n=500)})}


def source(**changed: Any) -> Source:
    settings: dict[str, Any] = {"facts": {"n_layers": 1}, "record": {"recipe": {"tasks": {"n_context": 10}}}}
    return Source("toy", "in-memory", **(settings | changed))


def with_shares(**shares: tuple[float, float]) -> dict[str, Measure]:
    """The measures, with other shares of some candidates: value and half the width of its interval."""
    every = {name: scalar(2 * gap, 0.004) for name, gap in GAPS.items()}
    changed = {name: scalar(value, half) for name, (value, half) in shares.items()}
    return measures() | {"unexplained_share": of_candidates(every | changed)}


def claim(
    found: Mapping[str, Measure],
    tasks: str | None = None,
    law: Mapping[str, float] | None = None,
    sign: int | None = None,
    **facts: Any,
) -> Claim:
    return gd_claim(found, (source(**facts),), tasks, law, sign)


def text(card: Claim) -> str:
    return "\n".join((card.found, card.rival, card.evidence, *card.limits, card.methods))


def shown_lines(card: Claim) -> int:
    """Lines above the limits, as the terminal prints them at 80 columns."""
    screen = io.StringIO()
    printed: list[Any] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(terminal, "print_rich", printed.append)
        terminal.print_claim("toy", {part: getattr(card, part) for part in ("found", "rival", "evidence", "limits")})
    Console(file=screen, width=80).print(*printed)
    lines = screen.getvalue().splitlines()
    return next(i for i, line in enumerate(lines) if "•" in line) - 1  # without the title


# -- what was found ----------------------------------------------------------------------------------------------------


def test_the_closest_candidate_with_the_next_and_the_gap() -> None:
    card = claim(measures())
    words = "The model agrees with constructed gradient descent, leaving 4.0 % (95 % CI 2.0 to 6.0) unexplained."
    assert (card.found, card.badge) == (words, "Agrees with constructed gradient descent, 4.0 % unexplained")
    # constructed gradient descent and as many steps of the algorithm are one hypothesis: the next is another one
    assert card.rival == (
        "Next: 2 steps of gradient descent (20 % unexplained)."
        " Gap in prediction difference: 0.0800 (95 % CI 0.0700 to 0.0900)."
    )
    assert card.evidence == "500 tasks. Cosine 0.9877; null (shuffled labels) 0.12."


@pytest.mark.parametrize(
    ("share", "half", "words"),
    [
        (0.04, 0.005, "The model agrees with constructed gradient descent, leaving 4.0 % (95 % CI 3.5 to 4.5)"),
        (0.09, 0.0101, "Closest: constructed gradient descent, but it leaves 9.0 % (95 % CI 8.0 to 10.0) unex"),
        (0.41, 0.02, "Closest: constructed gradient descent, but it leaves 41 % (95 % CI 39 to 43) unexplained."),
        (0.52, 0.019, "No candidate explains the model: even constructed gradient descent leaves 52 % (95 % CI 50 to"),
        (1e-9, 1e-9, "The model agrees with constructed gradient descent, leaving less than 0.1 % unexplained."),
        (0.04, np.nan, "Closest: constructed gradient descent, but it leaves 4.0 % unexplained."),
    ],
)
def test_the_unexplained_share_decides_the_words(share: float, half: float, words: str) -> None:
    """Read off the end of the interval that is against the words: what is closest is not yet an explanation."""
    card = claim(with_shares(gd=(share, half)))
    assert card.found.startswith(words)
    assert [part in card.found for part in ("agrees", "but it leaves", "No candidate")].count(True) == 1
    assert card.badge.startswith(words.split()[0].replace("The", "Agrees with"))


def test_predictions_that_do_not_vary_are_explained_by_nothing() -> None:
    nothing = missing("share", "undefined", "the model's predictions do not vary between these tasks")
    constant = measures() | {"unexplained_share": of_candidates(dict.fromkeys(NAMES, nothing))}
    words = "The model's predictions do not vary between these tasks, so no candidate explains them."
    assert claim(constant).found == words
    assert (claim(constant).rival, claim(constant).badge) == ("No candidate was ranked.", "Predictions do not vary")
    assert "do not vary" not in claim(measures()).found
    single = constant | {"loss": with_loss(n=1)["loss"]}  # one task has no variation, whatever the model
    assert claim(single).badge == claim(single).found[:37] == "Closest: constructed gradient descent"


def test_a_turned_sign_is_said_first() -> None:
    turned = measures() | {"readout_sign": scalar(-1.0, np.nan)}
    straight, found, given = claim(measures()), claim(turned), claim(turned, sign=-1)
    assert found.found == given.found == f"Sign turned. {straight.found}"
    every = "Every number is that of the turned model."
    assert f"By the labels of the tuning tasks the output is the negative of a prediction. {every}" in found.limits
    assert f"You gave the sign -1. {every}" in given.limits
    assert "turned" not in text(straight) + text(claim(measures(), sign=1))
    assert all("predictions was found on the labels of other tasks, " in card.methods for card in (found, straight))
    assert all("sign of the predictions was given, " in c.methods for c in (given, claim(measures(), sign=1)))


def test_over_seeds_the_sign_says_in_how_many() -> None:
    for points, words in (([-1, 1, 1], "Sign turned in 1 of 3 seeds. The"), ([-1, -1, -1], "Sign turned. The")):
        signs = scalar(float(np.mean(points)), replicate="seed", n=3, points=np.array(points, dtype=float))
        assert claim(measures() | {"readout_sign": signs}).found.startswith(words)


def test_the_algorithm_of_as_many_steps_is_the_same_hypothesis() -> None:
    card = claim(measures(GAPS | {"gd_1": 0.001}))
    assert card.found.startswith("The model agrees with 1 step of gradient descent, leaving 0.2 %")
    assert card.rival.startswith("Next: 2 steps of gradient descent (20 % unexplained)")


def test_what_is_not_separated_is_not_ranked() -> None:
    card = claim(measures(uncertainty=0.081))
    assert card.found == (
        "These tasks do not separate constructed gradient descent from 2 steps of gradient descent"
        " (4.0 % and 20 % unexplained)."
    )
    assert card.rival == "Gap in prediction difference: 0.080 (95 % CI -0.001 to 0.161)."
    assert card.badge == "Not separated: constructed gradient descent, 2 steps of gradient descent"
    assert "agrees" not in card.found
    assert "do not separate" not in claim(measures(uncertainty=0.079)).found


def test_a_gap_without_an_interval_separates_nothing() -> None:
    card = claim(measures(uncertainty=np.nan))
    assert card.found.startswith("These tasks do not separate")
    assert card.rival == "Gap in prediction difference: 0.0800."


@pytest.mark.parametrize(("floor", "title"), [("zero", "the zero predictor"), ("mean_label", "the mean label")])
def test_a_floor_is_no_explanation(floor: str, title: str) -> None:
    found = measures(GAPS | {floor: 0.001})
    card = claim(found | {"unexplained_share": with_shares(**{floor: (1.0, 0.1)})["unexplained_share"]})
    assert card.found == (
        f"No candidate explains the model: none is closer than {title} (prediction difference 0.00100)."
    )
    assert card.rival.startswith("Next: constructed gradient descent (4.0 % unexplained)")
    assert card.evidence == "500 tasks."  # a floor has no cosine that a null could be compared with
    assert "No candidate" not in claim(measures()).found
    # a model that is the floor is explained by it: it ignores the query
    words = f"The model agrees with {title}, which ignores the query: it leaves 0.2 % unexplained."
    assert (claim(found).found, claim(found).badge) == (words, f"Agrees with {title}, 0.2 % unexplained")
    unclear = measures(GAPS | {floor: 0.001}, uncertainty=1.0)["closeness_margins"]
    assert claim(found | {"closeness_margins": unclear}).found == words  # whichever comes next
    assert "ignores the query" not in card.found + claim(measures()).found


def test_predictions_that_are_not_finite_are_not_compared() -> None:
    nothing = dict.fromkeys(NAMES, missing("label", "undefined", "no task has a finite value"))
    card = claim(measures() | {"prediction_difference": of_candidates(nothing)})
    assert card.found == "The model's predictions on these tasks are not finite, so mesascope compared nothing."
    nobody = ("No candidate was ranked.", "None.", (), "Predictions are not finite")
    assert (card.rival, card.evidence, card.limits, card.badge) == nobody
    assert "not finite" not in text(claim(measures()))


def test_a_candidate_that_diverges_is_not_ranked() -> None:
    diverged = missing("label", "undefined", "no task has a finite value")
    differences = {name: scalar(gap) for name, gap in GAPS.items()} | {"gd": diverged}
    card = claim(measures() | {"prediction_difference": of_candidates(differences)})
    assert card.found.startswith("The model agrees with 1 step of gradient descent")
    assert "constructed gradient descent" not in card.found + card.rival
    assert limit(card, "Not ranked") == []  # there are no seeds of which some had more to compare


@pytest.mark.parametrize("closest", NAMES)
@pytest.mark.parametrize("uncertainty", [0.0, 1.0])
def test_no_sentence_says_that_a_model_performs_gradient_descent(closest: str, uncertainty: float) -> None:
    for tasks in (None, "mine.npz"):
        words = text(claim(measures(GAPS | {closest: 0.0005}, uncertainty), tasks)).lower()
        assert "performs gradient descent" not in words
        assert "implements" not in words
        floor = closest in ("zero", "mean_label")
        assert ("does not show that the model computes what the closest candidate computes" in words) != floor


@pytest.mark.parametrize("closest", NAMES)
@pytest.mark.parametrize("uncertainty", [0.0, 1.0])
@pytest.mark.parametrize("share", [0.0432, 0.4321, 0.8765])
def test_the_card_is_short(closest: str, uncertainty: float, share: float) -> None:
    """Five lines at most, with long numbers, many tasks and a sign that is turned."""
    found = measures({name: gap + 0.000123 for name, gap in (GAPS | {closest: 0.000512}).items()}, uncertainty)
    loss = with_loss(n=10_000)["loss"]
    shares = with_shares(**{closest: (share, 0.0056)})["unexplained_share"]
    changed = {"loss": loss, "unexplained_share": shares, "readout_sign": scalar(-1.0, np.nan)}
    assert 2 < shown_lines(claim(found | changed)) <= 5


# -- what it does not show ---------------------------------------------------------------------------------------------


def limit(card: Claim, words: str) -> list[str]:
    return [found for found in card.limits if words in found]


def by_rate(*cosines: float) -> dict[str, Measure]:
    """The measures, with these cosines at three learning rates."""
    held = np.array(cosines)
    axes: dict[str, Any] = {"axes": ("rate_factor",), "coords": {"rate_factor": (0.25, 1.0, 2.0)}, "no_nulls": "none"}
    return measures() | {"cosine_by_gd_rate": Measure(held, "cosine", (held, held), replicate="task", n=500, **axes)}


def test_with_one_step_the_rate_is_out_of_sight() -> None:
    sentence = "With one step the sensitivity cosine does not depend on the learning rate"
    one = claim(by_rate(0.9993, 0.9993, 0.99932))
    assert f"{sentence}: at 0.25, 1, 2 times the rate it is 0.9993, 0.9993, 0.9993." in one.limits
    two_steps = by_rate(0.9993, 0.9993, 0.9993) | {"constructed_steps": scalar(2.0)}
    for other in (measures(), two_steps, by_rate(0.9993, 0.9990, 0.9993)):
        assert sentence not in text(claim(other))


def test_a_clip_that_saturates_shows_the_rate() -> None:
    words = "The activation clip makes the sensitivity cosine depend on the learning rate: at 0.25, 1, 2 times the rate"
    clipped = {"n_layers": 1, "activation_clip": 1.0}
    assert f"{words} it is 0.9993, 0.9980, 0.9200." in claim(by_rate(0.9993, 0.9980, 0.92), facts=clipped).limits
    assert words not in text(claim(by_rate(0.9993, 0.9980, 0.92)))  # no clip that could be the reason
    assert words not in text(claim(by_rate(0.9993, 0.9993, 0.9993), facts=clipped))  # a clip that does not bite


def test_a_barrier_is_no_evidence_alone() -> None:
    several = {"n_layers": 1, "n_heads": 2}
    convex = "With one layer and several heads a zero barrier is no evidence: the loss is convex along the mixture."
    for facts in (several, several | {"n_layers": 2}, several | {"n_heads": 1}, several | {"activation_clip": 1.0}):
        card = claim(measures(), facts=facts)
        assert limit(card, "barrier")[0] == (
            "A barrier alone is no evidence. Read the losses at both ends and the weight distance, too."
        )
        assert (convex in card.limits) == (facts == several)
    nothing = along("path", {"aligned": missing("label", "not applicable", "no weights")})
    assert limit(claim(measures() | {"barrier": of_candidates({"gd": nothing})}, facts=several), "barrier") == []


def test_a_cosine_that_is_there_has_to_be_read() -> None:
    words = "A cosine compares directions only. Read the norm ratio and the prediction difference, too."
    assert words in claim(measures()).limits
    undefined = dict.fromkeys(NAMES, missing("cosine", "undefined", "the model does not look at the query"))
    still = claim(measures() | {"cosine": of_candidates(undefined)})
    assert words not in still.limits
    assert still.evidence == "500 tasks."  # no number, and no null to set beside one


def test_a_model_of_something_else_is_told_so() -> None:
    """A loss of more than ten times that of the zero predictor, by the low end of its interval."""

    def loss(value: float) -> dict[str, Measure]:
        return measures() | {"loss": of_candidates({"model": scalar(value), "zero": scalar(0.4)})}

    (found,) = limit(claim(loss(4e14)), "zero predictor")
    assert found == (
        "The model's loss is 1e+15 times that of the zero predictor."
        " It may solve another task, or read tokens in another layout."
    )
    assert limit(claim(loss(4.02)), "zero predictor") != []
    assert limit(claim(loss(4.005)), "zero predictor") == limit(claim(measures()), "zero predictor") == []


def test_agreement_is_limited_where_there_is_some() -> None:
    words = "Agreement on these tasks does not show that the model computes what the closest candidate computes."
    assert words in claim(measures()).limits
    assert words not in claim(with_shares(gd=(0.8, 0.01))).limits


def test_candidates_of_nearly_the_same_direction_are_named() -> None:
    assert limit(claim(measures(alike=0.99)), "hardly separate") == []
    (found,) = limit(claim(measures(alike=0.995)), "hardly separate")
    assert "hardly separate constructed gradient descent from 2 steps of gradient descent, ridge regression" in found
    assert "1 step of gradient descent" not in found  # the same hypothesis


def test_what_was_assumed_is_said() -> None:
    card = claim(measures(), record={}, notes=("a note", "a note"))
    assert (
        "The checkpoint does not record its training tasks. mesascope drew the paper's tasks with N = d_in."
        in card.limits
    )
    assert card.limits.count("a note") == 1
    assert limit(claim(measures()), "does not record") == []
    assert limit(claim(measures(), "mine.npz", record={}), "does not record") == []


def test_tasks_that_are_not_those_of_training_are_named() -> None:
    assert limit(claim(measures()), "not those of training") == []
    asked = claim(measures(), law={"n_context": 20, "noise": 0.5})
    assert "The tasks are not those of training: you asked for n_context = 20, noise = 0.5." in asked.limits
    (unknown,) = limit(claim(measures(), law={"n_context": 20}, record={}), "record")
    assert unknown.endswith("mesascope drew the paper's tasks, changed to n_context = 20.")  # and no word of N = d_in


def test_a_single_task_fits_and_judges_at_once() -> None:
    assert len(limit(claim(with_loss(n=1), "mine.npz"), "With a single task")) == 1
    assert claim(with_loss(n=1), "mine.npz").evidence.startswith("1 task.")
    assert limit(claim(measures(), "mine.npz"), "With a single task") == []
    assert limit(claim(with_loss(n=1)), "With a single task") == []


# -- methods and evidence ----------------------------------------------------------------------------------------------


def test_the_methods_say_where_tasks_and_settings_come_from() -> None:
    drawn, from_file = claim(measures()).methods, claim(measures(), "mine.npz").methods
    assert "on freshly drawn in-context linear regression tasks." in drawn
    assert "tuning tasks that share none with the evaluation tasks" in drawn
    assert "cross-fitted" not in drawn
    assert "on tasks supplied by the user." in from_file
    assert "cross-fitted between two halves of the tasks." in from_file
    assert "tuning tasks" not in from_file
    assert "to take 1 gradient step (" in drawn
    assert "to take 2 gradient steps (" in claim(measures() | {"constructed_steps": scalar(2.0)}).methods
    assert "Nulls: context labels shuffled for the model only." in drawn
    assert drawn.endswith("95 % confidence intervals: paired bootstrap over 500 tasks.")
    assert "Nulls: 50 untrained initialisations of the same" in claim(with_loss(nulls=NULLS)).methods


def test_the_methods_give_the_learning_rate_where_there_is_one() -> None:
    assert "has the learning rate 6.06 (95 % CI 5.96 to 6.16)." in claim(measures()).methods
    only_algorithms = measures() | {"learning_rate": of_candidates({"gd_1": scalar(6.0)})}
    undefined = measures() | {"learning_rate": of_candidates({"gd": missing("label", "undefined", "not finite")})}
    for found in (only_algorithms, undefined):
        assert "has the learning rate" not in claim(found).methods


def test_a_winner_at_the_end_of_the_search_is_called_so() -> None:
    most, fewer = claim(measures(GAPS | {"gd_2": 0.002})), claim(measures(GAPS | {"gd_1": 0.002}))
    assert most.found.startswith("The model agrees with 2 steps of gradient descent (most tried), leaving 0.4 %")
    assert most.badge == "Agrees with 2 steps of gradient descent (most tried), 0.4 % unexplained"
    assert "2 steps of gradient descent is the end of the search. More steps may come closer." in most.limits
    assert not any(words in text(fewer) for words in ("most tried", "end of the search"))


@pytest.mark.parametrize(("closest", "words"), [("gd_1", "rate of 1 step of gradient"), ("ridge", "penalty of ridge")])
def test_a_setting_at_the_end_of_its_range_is_named(closest: str, words: str) -> None:
    found = measures(GAPS | {closest: 0.002})
    assert limit(claim(found), "range that was searched") == []
    at_end = {"gd_1": scalar(1e4, unit="learning rate", message=AT_END)}
    found["learning_rate"] = of_candidates({"gd": scalar(6.06), "gd_2": scalar(3.0)} | at_end)
    found["ridge_penalty"] = scalar(1e-6, unit="penalty", message=AT_END)
    (said,) = limit(claim(found), "range that was searched")
    assert words in said
    assert said.endswith("is at an end of the range that was searched. One beyond may come closer.")
