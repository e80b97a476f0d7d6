"""Every measure against NumPy that goes through it task by task; and what must not move it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from mesascope.models import TokenLayout
from mesascope.probes import Measure
from mesascope.probes.algorithms.families import Fitted
from mesascope.probes.algorithms.filtered import GRADIENT_DESCENT as GD
from mesascope.probes.algorithms.filtered import RIDGE
from mesascope.probes.algorithms.fitting import Fit
from mesascope.probes.comparing.behaviour import Behaviour, Compared
from mesascope.probes.icl_algorithm.contest import Contest
from mesascope.probes.icl_algorithm.measures import ROUNDING, behaviour_measures
from mesascope.probes.icl_algorithm.search import Entry
from mesascope.probes.icl_algorithm.setting_measures import AS_GOOD, setting_measures
from mesascope.probes.regression.examined import Comparison
from mesascope.probes.regression.reading import Reading

TASKS, D_OUT, D_IN = 40, 2, 3
RULES = ("one", "two", "three")
READING = Reading(TokenLayout(D_IN, D_OUT), {})


def answers(rng: np.random.Generator, near: np.ndarray | None = None, n: int = TASKS) -> Behaviour:
    prediction = rng.normal(size=(n, D_OUT)) if near is None else near + 0.3 * rng.normal(size=near.shape)
    return Behaviour(torch.from_numpy(prediction), torch.from_numpy(rng.normal(size=(n, D_OUT, D_IN))))


@pytest.fixture
def evaluation() -> Compared:
    rng = np.random.default_rng(0)
    labels = rng.normal(size=(TASKS, D_OUT))
    return Compared(answers(rng, labels), {name: answers(rng, labels) for name in RULES}, torch.from_numpy(labels))


def measured(evaluation: Compared, null: Compared | None = None) -> dict[str, Measure]:
    drawn = null or evaluation
    nulls = {"untrained": [Comparison(drawn.model, drawn.candidates, drawn.targets, READING, 1)]}
    return behaviour_measures(Contest({}, evaluation, nulls), seed=0)[0]


def slowly(evaluation: Compared, rule: str, tasks: np.ndarray | None = None) -> dict[str, float]:
    """The definitions, read aloud."""
    at = np.arange(len(evaluation.targets)) if tasks is None else tasks
    own, other = (one.prediction.numpy()[at] for one in (evaluation.model, evaluation.candidates[rule]))
    labels = evaluation.targets.numpy()[at]
    median = np.median(evaluation.model.prediction.numpy(), axis=0)
    distances = [np.sqrt(sum((a - b) ** 2)) for a, b in zip(own, other, strict=True)]
    variation = [np.sqrt(sum((a - median) ** 2)) for a in own]
    errors = [(a - y, b - y) for a, b, y in zip(own, other, labels, strict=True)]
    inner = sum(a @ b for a, b in errors)
    mean = evaluation.model.prediction.numpy().mean(axis=0)
    return {
        "prediction_difference": float(np.mean(distances)),
        "unexplained_share": float(sum(distances) / sum(variation)),
        "squared_share": sum(d**2 for d in distances) / sum(((a - mean) ** 2).sum() for a in own),
        "error_cosine": inner / np.sqrt(sum(a @ a for a, _ in errors) * sum(b @ b for _, b in errors)),
    }


@pytest.mark.parametrize("rule", RULES)
def test_values(rule: str, evaluation: Compared) -> None:
    found = measured(evaluation)
    for name, value in slowly(evaluation, rule).items():
        assert found[name].sel(candidate=rule).estimate == pytest.approx(value, rel=1e-12), name


def test_intervals_are_those_of_resampled_tasks(evaluation: Compared) -> None:
    found, rng = measured(evaluation), np.random.default_rng(1)
    again = [slowly(evaluation, "two", rng.integers(0, TASKS, TASKS)) for _ in range(500)]
    for name in again[0]:
        measure = found[name].sel(candidate="two")
        ends = np.percentile([one[name] for one in again], [2.5, 97.5])
        np.testing.assert_allclose(measure.interval, ends, atol=0.15 * (ends[1] - ends[0]), err_msg=name)
        assert (measure.n, measure.replicate) == (TASKS, "task")


def test_rules_beside_each_other(evaluation: Compared) -> None:
    distance = measured(evaluation)["candidate_distance"]
    held = evaluation.candidates
    for one in RULES:
        for other in RULES:
            own = Compared(evaluation.model, {"other": held[other]}, evaluation.targets)
            variation = slowly(own, "other")["prediction_difference"] / slowly(own, "other")["unexplained_share"]
            gap = np.linalg.norm((held[one].prediction - held[other].prediction).numpy(), axis=1).mean()
            assert distance.sel(candidate=one, other_candidate=other).estimate == pytest.approx(gap / variation)
    for part in (distance.values, *distance.interval):
        np.testing.assert_array_equal(part, part.T)
        np.testing.assert_array_equal(np.diag(part), 0)
    low, high = distance.interval
    assert low[0, 1] < distance.values[0, 1] < high[0, 1]


def test_margins_are_of_the_first_over_the_second(evaluation: Compared) -> None:
    found = measured(evaluation)
    far, near = (found["prediction_difference"].sel(candidate=name).estimate for name in RULES[:2])
    margin = found["closeness_margins"].sel(candidate="two", other_candidate="one")
    assert margin.estimate == pytest.approx(far - near, rel=1e-12)


def test_units_of_labels_do_not_matter(evaluation: Compared) -> None:
    def seven(one: Behaviour) -> Behaviour:
        return Behaviour(7 * one.prediction, 7 * one.sensitivity)

    others = {name: seven(one) for name, one in evaluation.candidates.items()}
    plain, large = measured(evaluation), measured(Compared(seven(evaluation.model), others, 7 * evaluation.targets))
    for name in ("unexplained_share", "squared_share", "error_cosine", "candidate_distance", "cosine", "norm_ratio"):
        np.testing.assert_allclose(plain[name].values, large[name].values, rtol=1e-12, err_msg=name)
        np.testing.assert_allclose(plain[name].interval, large[name].interval, rtol=1e-9, atol=1e-12, err_msg=name)


def test_nulls_stand_beside_their_measure(evaluation: Compared) -> None:
    rng = np.random.default_rng(3)
    model, labels = answers(rng), rng.normal(size=(TASKS, D_OUT))
    null = Compared(model, {name: answers(rng) for name in RULES[:2]} | {"three": model}, torch.from_numpy(labels))
    found = measured(evaluation, null)
    for name in ("unexplained_share", "squared_share", "error_cosine", "prediction_difference"):
        for rule in RULES:
            (drawn,) = found[name].sel(candidate=rule).nulls["untrained"]
            assert drawn == pytest.approx(slowly(null, rule)[name], abs=1e-12), name
    assert found["unexplained_share"].sel(candidate="three").nulls["untrained"] == 0


def test_rounding_is_no_error(evaluation: Compared) -> None:
    """A rule that finds every label has no errors to compare, whatever the last digits are."""
    labels, rng = evaluation.targets, np.random.default_rng(4)
    noise = torch.from_numpy(rng.normal(size=(TASKS, D_OUT)))
    scale, one = labels.abs().mean(), evaluation.candidates["one"]

    def with_errors(size: float) -> Measure:
        others = {"exact": Behaviour(labels + size * noise * scale, one.sensitivity), "one": one}
        return measured(Compared(evaluation.model, others, labels))["error_cosine"].sel(candidate="exact")

    rounding = with_errors(ROUNDING / 1000)
    assert (rounding.status, rounding.message) == ("undefined", "one of the two makes no error, or diverges")
    assert with_errors(1000 * ROUNDING).status == "ok"


@pytest.mark.parametrize(("value", "reason"), [(0.5, "do not vary"), (float("nan"), "not finite")])
def test_predictions_without_a_share(value: float, reason: str, evaluation: Compared) -> None:
    same = Behaviour(torch.full((TASKS, D_OUT), value, dtype=torch.float64), evaluation.model.sensitivity)
    found = measured(Compared(same, evaluation.candidates, evaluation.targets))
    for name in ("unexplained_share", "candidate_distance"):
        assert not found[name].has_number
        part = found[name] if not found[name].axes else found[name].sel(candidate="one")
        assert reason in part.message, name
    assert not found["squared_share"].has_number


def test_a_rule_that_diverges_leaves_the_others_their_numbers(evaluation: Compared) -> None:
    held = dict(evaluation.candidates)
    prediction = held["two"].prediction.clone()
    prediction[3] = torch.inf
    held["two"] = Behaviour(prediction, held["two"].sensitivity)
    plain, found = measured(evaluation), measured(Compared(evaluation.model, held, evaluation.targets))
    assert not any(found[name].sel(candidate="two").has_number for name in ("unexplained_share", "squared_share"))
    for rule in ("one", "three"):
        for name in ("unexplained_share", "squared_share", "error_cosine"):
            assert found[name].sel(candidate=rule).estimate == plain[name].sel(candidate=rule).estimate
    distance = found["candidate_distance"]
    assert [list(row) for row in np.isnan(distance.values)] == [[0, 1, 0], [1, 0, 1], [0, 1, 0]]
    assert "not finite" in distance.message


# -- settings ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def ridge() -> Callable[..., dict[str, Measure]]:
    def measures(*fits: Fit) -> dict[str, Measure]:
        return setting_measures({"ridge": Entry(RIDGE, tuple(Fitted(0, {"penalty": fit}) for fit in fits), (0, 0, 0)),
                                 "gd": Entry(GD, (Fitted(5, {"learning rate": fits[0]}),), (5, 3, 9))})  # fmt: skip

    return measures


def test_settings_over_both_halves(ridge: Callable[..., dict[str, Measure]]) -> None:
    penalty = ridge(Fit(1.0, 0.7, 1.3, 30), Fit(3.0, 2.6, 3.4, 30))["penalty"].sel(candidate="ridge")
    assert (penalty.estimate, penalty.n, penalty.message) == (2.0, 60, "")
    np.testing.assert_allclose(penalty.interval, [2 - 0.25, 2 + 0.25])  # half of the root of .3² + .4²


def test_how_many_settings_and_steps(ridge: Callable[..., dict[str, Measure]]) -> None:
    found = ridge(Fit(1.0, 0.7, 1.3, 30))
    assert list(found["fitted_settings"].values) == [1, 2]
    steps = found["steps"].sel(candidate="gd")
    assert (steps.estimate, *steps.interval, steps.message) == (5, 3, 9, AS_GOOD)
    assert found["steps"].labels("candidate") == ("gd",)
    assert set(found) == {"fitted_settings", "steps", "penalty", "learning_rate"}


@pytest.mark.parametrize(("fit", "message"), [
    (Fit(1.0, 0.7, 1.3, 30, at_end=True), "at an end of the range that was searched"),
    (Fit(1.0, float("nan"), float("nan"), 30), "no curvature there, so no interval"),
    (Fit(float("nan"), float("nan"), float("nan"), 30), "no setting is closest: a prediction is not finite"),
])  # fmt: skip
def test_settings_say_what_is_wrong_with_them(fit: Fit, message: str, ridge: Callable[..., dict[str, Measure]]) -> None:
    assert ridge(fit)["penalty"].sel(candidate="ridge").message == message
