"""The claim card on tasks: every sentence where it holds, and only there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from mesascope.models import Source
from mesascope.probes import Claim, Measure
from mesascope.probes.measure import along, missing, without_interval
from mesascope.probes.softmax_regression.claim import task_claim
from mesascope.probes.softmax_regression.names import CANDIDATES
from mesascope.probes.softmax_regression.over_training import over_training

GAPS = {"gd": 0.2, "smoother": 0.03, "copy": 0.3, "exact": 0.4, "zero": 0.9}
LOSSES = {"model": 0.03, "gd": 0.04, "smoother": 0.03, "copy": 0.05, "exact": 0.0, "zero": 0.24}
SHIFTS = {"gd": 1.0, "smoother": 0.7, "copy": 0.6, "exact": 0.65}
RECORD = {"recipe": {"tasks": {"n_tokens": 25}}}


def scalar(value: float, width: float = 0.01, **changed: Any) -> Measure:
    ends = np.array(value - width), np.array(value + width)
    settings: dict[str, Any] = {"unit": "label", "replicate": "task", "n": 500, "no_nulls": "none exist"}
    return Measure(np.array(value), interval=ends, **(settings | changed))


def exactly(value: float, message: str = "") -> Measure:
    return without_interval(np.array(value), "share", message=message or "one number", no_nulls="none")


def each(values: Mapping[str, float], width: float = 0.01) -> Measure:
    return along("candidate", {name: scalar(value, width) for name, value in values.items()})


def measures(
    gaps: Mapping[str, float] = GAPS,
    losses: Mapping[str, float] = LOSSES,
    uncertainty: float = 0.01,
    alike: float = 0.5,
    **changed: Measure,
) -> dict[str, Measure]:
    """What one checkpoint's findings look like, as far as the claim reads them."""
    names, column = tuple(gaps), np.array(list(gaps.values()))
    axes, coords = ("candidate", "other_candidate"), {"candidate": names, "other_candidate": names}
    square: dict[str, Any] = {"axes": axes, "coords": coords, "replicate": "task", "n": 500, "no_nulls": "none"}
    margins, cosines = column[None, :] - column[:, None], np.full((len(names), len(names)), alike)
    return {
        "loss": each(losses),
        "cosine": along("candidate", {name: scalar(0.6) for name in names}),
        "prediction_difference": each(gaps),
        "unexplained_share": each({name: 1.5 * gap for name, gap in gaps.items()}, 1.5 * uncertainty),
        "closeness_margins": Measure(
            margins, "label", (margins - uncertainty, margins + uncertainty), **square
        ),
        "candidate_cosines": Measure(cosines, "cosine", (cosines, cosines), **square),
        "loss_over_gd": scalar(losses["model"] / losses["gd"]),
        "candidate_shift_cosine": each(SHIFTS),
        "shift_cosine": scalar(0.8, nulls={"random directions": np.array([-0.01, 0.03])}, no_nulls=""),
        **{f"shift_{moved}": scalar(0.4) for moved in "xA"},
        **{f"premise_{moved}": scalar(0.25) for moved in "xA"},
        **{f"largest_move_{moved}": scalar(3.0) for moved in "xA"},
        **{f"bound_{moved}": scalar(0.5) for moved in "xA"},
        **{f"log10_paper_bound_{moved}": scalar(70.0) for moved in "xA"},
        "learning_rate": each({"gd": 40.0}),
        "smoother_sharpness": scalar(-0.3),
        "KQ_diagonal": exactly(-0.3),
        "KQ_identity_distance": exactly(0.1),
        "loss_path": scalar(0.1),
        "exact_settled": exactly(1.0),
    } | changed  # fmt: skip


def card(found: dict[str, Measure] | None = None, record: Any = RECORD, tasks: str | None = None) -> Claim:
    source = Source("model", layout="mesascope", record=record, notes=("a note",))
    return task_claim(found or measures(), (source,), tasks)


def limits(**changed: Any) -> str:
    return " ".join(card(measures(**changed)).limits)


# -- the verdict -------------------------------------------------------------------------------------------------------


def test_who_agrees_and_who_is_next() -> None:
    claim = card()
    assert claim.badge == "Agrees with kernel smoothing over unlike tokens, 4.5 % unexplained"
    assert claim.found.startswith("The model agrees with kernel smoothing over unlike tokens, leaving 4.5 % (95 % CI")
    assert claim.rival.startswith("Next: one gradient step (30 % unexplained). Gap in prediction difference: 0.170")
    assert "Loss 0.0300, 0.750 (95 % CI 0.740 to 0.760) of one gradient step's." in claim.evidence
    assert "performs gradient descent" not in " ".join((claim.found, *claim.limits))


def test_similar_tokens_by_the_sign_of_the_sharpness() -> None:
    assert "over similar tokens" in card(measures(smoother_sharpness=scalar(1.4))).badge
    both = scalar(0.1, points=np.array([-0.3, 1.4]), replicate="seed", n=2)
    assert "over similar or unlike tokens (as the seed has it)" in card(measures(smoother_sharpness=both)).badge


@pytest.mark.parametrize(
    ("gaps", "badge", "sentence"),
    [
        (GAPS | {"smoother": 0.1}, "Closest: kernel smoothing", "but it leaves 15 %"),
        (GAPS | {"smoother": 0.5, "gd": 0.45, "copy": 0.44, "exact": 0.6}, "No candidate explains", "even copying b"),
        (GAPS | {"smoother": 0.5, "copy": 0.02}, "Agrees with copying b", "b, which does not look at A, leaving"),
        (GAPS | {"smoother": 0.5, "zero": 0.1}, "Closest: no step", "no step, which does not look at A, but"),
        (GAPS | {"exact": 0.031}, "Not separated: kernel smoothing over unlike tokens, the", "(4.5 % and 4.7 % of the"),
        (GAPS | {"gd": 0.031}, "Agrees with one gradient step, 4.7 %", "agrees with one gradient step, leaving"),
        (GAPS | {"copy": 0.05, "gd": 0.06}, "Agrees with copying b", "copying b, which does not look at A, leaving"),
    ],
)
def test_other_verdicts(gaps: dict[str, float], badge: str, sentence: str) -> None:
    claim = card(measures(gaps))
    assert claim.badge.startswith(badge)
    assert sentence in claim.found


def test_what_is_a_limit_of_the_smoother_is_called_before_it() -> None:
    """The smoother contains a gradient step and a copy, and its settings are fitted to the model."""
    limit = card(measures(GAPS | {"gd": 0.031}))
    assert limit.rival == "Kernel smoothing over unlike tokens, of which that is a limit, leaves 4.5 % unexplained."
    assert "fitted to the model's own predictions" not in " ".join(limit.limits)
    assert "is a limit" not in card().rival
    assert "is a limit" not in card(measures(GAPS | {"exact": 0.031})).rival


def test_predictions_that_agree_with_other_sensitivities() -> None:
    words = (
        "The predictions agree with kernel smoothing over unlike tokens, the sensitivities less: their cosine is 0.6"
    )
    assert words in limits()
    assert "the sensitivities less" not in limits(cosine=along("candidate", {name: scalar(0.95) for name in GAPS}))
    assert "the sensitivities less" not in limits(gaps=GAPS | {"smoother": 0.1})


def test_how_far_one_gradient_step_is_where_it_is_neither() -> None:
    far = card(measures(GAPS | {"gd": 0.35}))
    assert "One gradient step leaves 52 % unexplained." in far.rival
    assert "One gradient step leaves" not in card().rival


def test_the_shifts_in_words() -> None:
    assert (
        "One gradient step shifts the targets by 0.400 and what the model writes by 0.400; the cosine between both"
        " shifts is 0.800 (95 % CI 0.790 to 0.810), in random directions 0.0100."
    ) in card().found
    none = measures(shift_cosine=missing("cosine", "undefined", "not finite"))
    assert "the cosine between" not in card(none).found
    assert "how equal they are here is the cosine between them, which has no number." in " ".join(card(none).limits)


# -- limits ------------------------------------------------------------------------------------------------------------


def test_the_theorems_do_not_say_that_the_shifts_are_equal() -> None:
    words = limits()
    assert "bound both shifts by the same kind of constant. They do not say that the shifts are equal" in words
    assert "the cosine between them, 0.800 (95 % CI 0.790 to 0.810)." in words


@pytest.mark.parametrize(("own", "named"), [(0.8, ""), (0.64, "one exact"), (0.62, "copying b 0.600")])
def test_a_cosine_that_every_solution_has(own: float, named: str) -> None:
    words = limits(shift_cosine=scalar(own))
    assert ("Whatever solves these tasks shifts the targets nearly" in words) == bool(named)
    if named == "copying b 0.600":
        assert named in words
        assert "the exact solution 0.650" in words
        assert "one gradient step 1.00" not in words


def test_a_low_cosine_is_not_that_of_every_solution() -> None:
    """Nor is that of the smoother, which is fitted to the model, a solution like others."""
    assert "Whatever solves these tasks" not in limits(shift_cosine=scalar(0.1))
    only_smoother = each(SHIFTS | {"copy": 0.2, "exact": 0.2})
    assert "Whatever solves these tasks" not in limits(shift_cosine=scalar(0.7), candidate_shift_cosine=only_smoother)
    assert "kernel smoothing over unlike tokens 0.7" not in limits(shift_cosine=scalar(0.62))


def test_premises_are_named_where_they_are_violated() -> None:
    violated = limits(premise_x=scalar(1.0))
    assert "Premise violated" in violated
    assert "but what the model writes moves an entry by more at 75 % of the tasks (by 3.00 on average)" in violated
    assert "one gradient step moves" not in violated
    assert "one gradient step moves an entry by more at 75 %" in limits()
    assert "Premise violated" not in limits(premise_x=scalar(1.0), premise_A=scalar(1.0))


def test_a_constant_that_is_vacuous() -> None:
    words = limits(log10_paper_bound_A=scalar(120.0))
    assert "vacuous here: 10^70 for x and 10^120 for A, 70 to 120 orders of magnitude above the tight bound." in words
    near = {f"log10_paper_bound_{moved}": scalar(1.0) for moved in "xA"}
    assert "vacuous" not in limits(**near)


def test_a_model_that_is_better_than_the_step_is_not_the_step() -> None:
    words = "The model's loss is 0.750 (95 % CI 0.740 to 0.760) of that of one gradient step"
    assert f"{words}: it does something else than the step, and its cosine to it, 0.600 (95" in limits()
    assert "of that of one gradient step:" not in limits(loss_over_gd=scalar(0.995))
    without = along("candidate", {name: missing("cosine", "undefined", "zero") for name in GAPS})
    assert "than the step." in limits(cosine=without)


def test_copying_that_beats_the_step() -> None:
    assert "Copying b, which does not look at A, has a loss of" not in limits()
    words = limits(losses=LOSSES | {"copy": 0.02})
    assert (
        "Copying b, which does not look at A, has a loss of 0.0200, below that of one gradient step (0.0400)" in words
    )


def test_seeds_on_both_sides() -> None:
    def of(*points: float, distance: float = 0.1) -> str:
        how: dict[str, Any] = {"replicate": "seed", "n": len(points)}
        diagonal = scalar(0.0, points=np.array(points), **how)
        distances = scalar(distance, points=np.full(len(points), distance), **how)
        return limits(KQ_diagonal=diagonal, KQ_identity_distance=distances)

    assert "1 attends to similar tokens, 2 to unlike ones. Means over both describe neither" in of(-0.3, 2.8, -0.2)
    assert "two solutions" not in of(-0.3, -0.2)
    assert "two solutions" not in of(-0.003, 0.002, distance=0.99)  # untrained: a sign by chance
    assert "two solutions" not in limits()


def test_the_smoother_was_fitted_to_the_model() -> None:
    assert "fitted to the model's own predictions" in limits()
    assert "fitted to the model's own predictions" not in limits(gaps=GAPS | {"smoother": 0.5})


def test_candidates_that_hardly_differ() -> None:
    assert "hardly differ" not in limits()
    assert "of kernel smoothing over unlike tokens hardly differ from those of one gradient step" in limits(alike=0.995)


def test_settings_at_an_end_or_given() -> None:
    at_end = along("candidate", {"gd": scalar(1e4, message="at an end of the range that was searched")})
    assert "The fitted step of gd lies at an end of the range" in limits(learning_rate=at_end)
    given = along("candidate", {"gd": scalar(3.0, message="given, not fitted")})
    assert "was given, not fitted: another may have a lower loss" in limits(learning_rate=given)
    assert "lies at an end" not in limits()
    assert "given, not fitted" not in limits()


def test_a_search_that_stopped() -> None:
    assert "At 25 % of the tasks the search for the exact solution stopped" in limits(exact_settled=exactly(0.75))
    assert "the search for the exact" not in limits()


def test_a_path_is_no_gauge() -> None:
    assert "is no gauge of softmax attention" in limits()
    assert "is no gauge" not in limits(loss_path=missing("loss", "undefined", "no sharpness"))


def test_where_the_tasks_come_from() -> None:
    unknown = "does not say what it was trained on"
    assert unknown not in " ".join(card().limits)
    assert unknown in " ".join(card(record={}).limits)
    assert unknown not in " ".join(card(record={}, tasks="own.npz").limits)
    assert "a note" in card().limits
    assert "tasks supplied by the user" in card(tasks="own.npz").methods
    assert "freshly drawn tasks" in card().methods


def test_methods_name_the_nulls_there_are() -> None:
    assert "untrained layers" not in card().methods
    null = {"untrained": np.zeros(50), "shuffled b": np.zeros(20)}
    loss = along(
        "candidate", {"model": scalar(0.03, nulls=null, no_nulls=""), "gd": scalar(0.04), "copy": scalar(0.05)}
    )
    methods = card(measures(loss=loss)).methods
    assert "50 untrained layers, b in random order for the model only, 20 random directions" in methods
    assert "paired bootstrap over 500 tasks" in methods


def test_every_candidate_has_a_title_of_its_own() -> None:
    titles = [candidate.title for candidate in CANDIDATES.values()]
    assert len(set(titles)) == len(titles)


# -- several steps -----------------------------------------------------------------------------------------------------


def at_step(cosines: list[float], losses: list[float]) -> dict[str, Measure]:
    """Of several seeds."""

    def over(values: list[float]) -> Measure:
        points = np.array(values)
        return scalar(float(points.mean()), points=points, replicate="seed", n=len(values))

    return {"loss": scalar(0.1), "cosine": along("candidate", {"gd": over(cosines)}), "loss_over_gd": over(losses)}


def sentence(*steps: dict[str, Measure]) -> str:
    return over_training({100 * number: step for number, step in enumerate(steps)}).sentence


def test_a_layer_that_gets_better_by_leaving_the_step() -> None:
    found = sentence(at_step([0.0, 0.0], [9.0, 9.0]), at_step([0.7, 0.8], [1.5, 1.2]), at_step([0.3, 0.85], [0.6, 0.9]))
    assert found == (
        "In 1 of 2 seeds the cosine to one gradient step falls from 0.70 (step 100) to 0.30 while the loss falls from"
        " 1.50 to 0.60 times that of the step: the better layer is the one that leaves it."
    )


@pytest.mark.parametrize(
    "last",
    [
        at_step([0.8], [0.6]),  # no fall
        at_step([0.68], [0.6]),  # hardly a fall
        at_step([0.3], [1.6]),  # a fall of a layer that gets worse
        at_step([0.3], [1.1]),  # or does not get better than the step
    ],
)
def test_no_such_sentence_otherwise(last: dict[str, Measure]) -> None:
    assert sentence(at_step([0.0], [9.0]), at_step([0.7], [1.5]), last) == ""


def test_steps_of_other_seeds_are_not_joined() -> None:
    assert sentence(at_step([0.7], [1.5]), at_step([0.3, 0.85], [0.6, 0.9])) == ""


def test_one_checkpoint_a_step_has_no_seeds_to_count() -> None:
    def alone(cosine: float, loss: float) -> dict[str, Measure]:
        return {"loss": scalar(0.1), "cosine": each({"gd": cosine}), "loss_over_gd": scalar(loss)}

    assert sentence(alone(0.0, 9.0), alone(0.7, 1.5), alone(0.3, 0.6)).startswith("The cosine to one gradient step")
    assert sentence({"shift_A": scalar(1.0)}, {"shift_A": scalar(1.0)}) == ""
