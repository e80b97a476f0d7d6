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
from mesascope.probes.gd_alignment.claim import gd_claim
from mesascope.probes.gd_alignment.ranking import Number
from mesascope.probes.measure import along, missing
from rich.console import Console

NAMES = ("gd", "zero", "mean_label", "ridge", "min_norm", "gd_1", "gd_2")
GAPS = {"gd": 0.02, "zero": 0.5, "mean_label": 0.6, "ridge": 0.2, "min_norm": 0.4, "gd_1": 0.021, "gd_2": 0.1}
NULLS = {"untrained": np.linspace(-0.1, 0.1, 50), "shuffled labels": np.full(20, 0.12)}


def scalar(value: float, width: float = 0.01, **changed: Any) -> Measure:
    ends = np.array(value - width), np.array(value + width)
    settings: dict[str, Any] = {"replicate": "task", "n": 500, "no_nulls": "none exist"}
    return Measure(np.array(value), "label", ends, **(settings | changed))


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
        "cosine": of_candidates({name: scalar(0.98765, nulls=NULLS) for name in gaps}),
        "closeness_margins": Measure(margins, "label", (margins - uncertainty, margins + uncertainty), **square),
        "candidate_cosines": Measure(cosines, "cosine", (cosines, cosines), **square),
        "loss": of_candidates({"model": scalar(0.2), "gd": scalar(0.2)}),
        "barrier": of_candidates({"gd": along("path", {"aligned": scalar(0.0)})}),
        "learning_rate": of_candidates({"gd": scalar(6.06, 0.1), "gd_1": scalar(6.0), "gd_2": scalar(3.0)}),
    }


def with_loss(**changed: Any) -> dict[str, Measure]:
    """The measures, with another loss of the model."""
    return measures() | {"loss": of_candidates({"model": scalar(0.2, **changed)})}


def source(**changed: Any) -> Source:
    settings: dict[str, Any] = {"facts": {"n_layers": 1}, "record": {"recipe": {"tasks": {"n_context": 10}}}}
    return Source("toy", "in-memory", **(settings | changed))


def claim(
    found: Mapping[str, Measure], tasks: str | None = None, law: Mapping[str, float] | None = None, **facts: Any
) -> Claim:
    return gd_claim(found, (source(**facts),), tasks, law or {})


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
    words = "constructed gradient descent (prediction difference 0.0200, sensitivity cosine 0.9877)"
    assert card.found == f"Closest candidate: {words}."
    # constructed gradient descent and as many steps of the algorithm are one hypothesis: the next is another one
    assert card.rival == "Next: 2 steps of gradient descent (0.100); the gap is 0.0800 (95 % CI 0.0700 to 0.0900)."
    assert card.evidence == "500 tasks. Strongest null (shuffled labels): cosine 0.12."


def test_the_algorithm_of_as_many_steps_is_the_same_hypothesis() -> None:
    card = claim(measures(GAPS | {"gd_1": 0.001}))
    assert card.found.startswith("Closest candidate: 1 step of gradient descent (prediction difference 0.00100,")
    assert card.rival.startswith("Next: 2 steps of gradient descent (0.100)")


def test_what_is_not_separated_is_not_ranked() -> None:
    card = claim(measures(uncertainty=0.081))
    assert card.found == (
        "These tasks do not separate constructed gradient descent from 2 steps of gradient descent"
        " (prediction differences 0.0200 and 0.100)."
    )
    assert card.rival == "The gap between the two is 0.080 (95 % CI -0.001 to 0.161)."
    assert "Closest" not in card.found
    assert "do not separate" not in claim(measures(uncertainty=0.079)).found


def test_a_gap_without_an_interval_separates_nothing() -> None:
    card = claim(measures(uncertainty=np.nan))
    assert card.found.startswith("These tasks do not separate")
    assert card.rival == "The gap between the two is 0.0800."


@pytest.mark.parametrize(("floor", "title"), [("zero", "the zero predictor"), ("mean_label", "the mean label")])
def test_a_floor_is_no_explanation(floor: str, title: str) -> None:
    card = claim(measures(GAPS | {floor: 0.001}))
    assert card.found == f"No candidate is closer to the model than {title} (prediction difference 0.00100)."
    assert card.rival.startswith("Next: constructed gradient descent (0.0200)")
    assert card.evidence == "500 tasks."  # a floor has no cosine that a null could be compared with
    assert "No candidate" not in claim(measures()).found


def test_predictions_that_are_not_finite_are_not_compared() -> None:
    nothing = missing("label", "undefined", "no task has a finite value")
    card = claim(measures() | {"closeness_margins": nothing})
    assert card.found == "The model's predictions on these tasks are not finite, so mesascope compared nothing."
    assert (card.rival, card.evidence, card.limits) == ("No candidate was ranked.", "None.", ())
    assert "not finite" not in text(claim(measures()))


def test_a_candidate_that_diverges_is_not_ranked() -> None:
    diverged = missing("label", "undefined", "no task has a finite value")
    differences = {name: scalar(gap) for name, gap in GAPS.items()} | {"gd": diverged}
    card = claim(measures() | {"prediction_difference": of_candidates(differences)})
    assert card.found.startswith("Closest candidate: 1 step of gradient descent")
    assert "constructed gradient descent" not in card.found + card.rival


@pytest.mark.parametrize("closest", NAMES)
@pytest.mark.parametrize("uncertainty", [0.0, 1.0])
def test_no_sentence_says_that_a_model_performs_gradient_descent(closest: str, uncertainty: float) -> None:
    for tasks in (None, "mine.npz"):
        words = text(claim(measures(GAPS | {closest: 0.0005}, uncertainty), tasks)).lower()
        assert "performs gradient descent" not in words
        assert "implements" not in words
        assert "does not show that the model computes what the closest candidate computes" in words


@pytest.mark.parametrize(
    ("value", "words"),
    [
        ((0.1052, 0.1011, 0.1093), "0.105 (95 % CI 0.101 to 0.109)"),
        ((0.0999, 0.0882, 0.1117), "0.0999 (95 % CI 0.0882 to 0.1117)"),
        ((6.061, 5.9, 6.2), "6.06 (95 % CI 5.90 to 6.20)"),
        ((0.0003, -0.05, 0.06), "0.000 (95 % CI -0.050 to 0.060)"),
        ((1234.5, np.nan, np.nan), "1234"),
        ((0.0, np.nan, np.nan), "0.00"),
    ],
)
def test_an_interval_has_as_many_decimals_as_its_number(value: tuple[float, float, float], words: str) -> None:
    assert str(Number(*value)) == words


@pytest.mark.parametrize("closest", NAMES)
@pytest.mark.parametrize("uncertainty", [0.0, 1.0])
def test_the_card_is_short(closest: str, uncertainty: float) -> None:
    """Five lines at most, with long numbers and many tasks."""
    found = measures({name: gap + 0.000123 for name, gap in (GAPS | {closest: 0.000512}).items()}, uncertainty)
    loss = of_candidates({"model": scalar(0.2, n=10_000)})
    assert 2 < shown_lines(claim(found | {"loss": loss})) <= 5


# -- what it does not show ---------------------------------------------------------------------------------------------


def limit(card: Claim, words: str) -> list[str]:
    return [found for found in card.limits if words in found]


def test_with_one_layer_the_rate_is_out_of_sight() -> None:
    sentence = "With one layer the sensitivity cosine does not depend on the learning rate"
    cosines = np.array([0.9993, 0.9993, 0.9993])
    axes: dict[str, Any] = {"axes": ("rate_factor",), "coords": {"rate_factor": (0.25, 1.0, 2.0)}, "no_nulls": "none"}
    rates = Measure(cosines, "cosine", (cosines, cosines), replicate="task", n=500, **axes)
    one = claim(measures() | {"cosine_by_gd_rate": rates})
    assert f"{sentence}: at 0.25, 1, 2 times the fitted rate it is 0.9993, 0.9993, 0.9993." in one.limits
    assert f"{sentence}." in claim(measures()).limits
    assert sentence not in text(claim(measures(), facts={"n_layers": 2}))


def test_a_barrier_is_no_evidence_alone() -> None:
    one, two = claim(measures()), claim(measures(), facts={"n_layers": 2})
    for card in (one, two):
        assert limit(card, "barrier")[0] == (
            "A barrier alone is no evidence. Read the losses at both ends and the weight distance, too."
        )
    convex = "With one layer a zero barrier is no evidence: the loss is convex along the mixture of both models."
    assert convex in one.limits
    assert convex not in two.limits
    no_weights = along(
        "candidate", {"gd": along("path", {"aligned": missing("label", "not applicable", "no weights")})}
    )
    assert limit(claim(measures() | {"barrier": no_weights}), "barrier") == []


def test_every_card_says_how_to_read_a_cosine() -> None:
    words = "A cosine compares directions only. Read the norm ratio and the prediction difference, too."
    assert words in claim(measures()).limits
    assert words in claim(measures(), facts={"n_layers": 3}).limits


def test_candidates_of_nearly_the_same_direction_are_named() -> None:
    assert limit(claim(measures(alike=0.99)), "hardly separate") == []
    (found,) = limit(claim(measures(alike=0.995)), "hardly separate")
    assert "hardly separate constructed gradient descent from 2 steps of gradient descent, ridge regression" in found
    assert "1 step of gradient descent" not in found  # the same hypothesis


def test_what_was_assumed_is_said() -> None:
    card = claim(measures(), record={}, notes=("a note", "a note"))
    words = "The checkpoint does not record its training tasks. mesascope drew the paper's tasks with N = d_in."
    assert words in card.limits
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
    assert "to take 2 gradient steps (" in claim(measures(), facts={"n_layers": 2}).methods
    assert "to take gradient steps (" in claim(measures(), facts={}).methods


def test_the_methods_give_the_learning_rate_where_there_is_one() -> None:
    assert "has the learning rate 6.06 (95 % CI 5.96 to 6.16)." in claim(measures()).methods
    only_algorithms = measures() | {"learning_rate": of_candidates({"gd_1": scalar(6.0)})}
    undefined = measures() | {"learning_rate": of_candidates({"gd": missing("label", "undefined", "not finite")})}
    for found in (only_algorithms, undefined):
        assert "has the learning rate" not in claim(found).methods


def test_over_seeds_the_evidence_is_the_seeds() -> None:
    family = with_loss(replicate="seed", n=3, points=np.array([0.19, 0.2, 0.21]))
    card = gd_claim(family, (source(), source(), source()), None, {})
    assert card.evidence.startswith("3 seeds. ")
    assert card.methods.endswith("95 % confidence intervals: t-interval over 3 seeds.")
    assert claim(measures()).methods.endswith("95 % confidence intervals: paired bootstrap over 500 tasks.")
