"""Measures of attention: means by loops, what is left out and said, and gaps that are formed in each task."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mesascope.probes.icl_vs_gd.inside_measures import Known, inside_measures, of_rule
from mesascope.probes.measure import flat
from mesascope.probes.statistics.bootstrap import bootstrap_means, percentile_interval

N = 30
LEVELS = {
    "contrast": {"in context": 0.3, "in context, half run": 0.2, "other": 0.05, "random weights": 0.0}
    | {"half run": 0.9, "third rate": 0.6, "adam": 0.4},
    "output_similarity": {"tuned": 0.7, "shuffled": 0.65, "other": 0.5, "random weights": 0.1, "endpoint": 0.5},
    "raw_output_similarity": {"tuned": 0.3, "shuffled": 0.2},
    "score_similarity": {"tuned": 0.2, "other": 0.2},
    "score_shift_similarity": {"tuned": 0.2, "other": 0.2},
    "activation_distance": {"activation matching": 0.1},
}


def numbers(seed: int = 0, **levels: Any) -> dict[str, dict[str, np.ndarray]]:
    """[task layer] around levels, with 0.1 more in the second of three layers and 0.2 in the third."""
    rng = np.random.default_rng(seed)
    return {
        name: {
            what: level + rng.normal(0, 0.05, (N, 3)) + 0.1 * np.arange(3)
            for what, level in (held | levels.get(name, {})).items()
        }
        for name, held in LEVELS.items()
    }


def ends(resampled: np.ndarray) -> list[float]:
    return [float(bound) for bound in percentile_interval(resampled)]


def test_means_are_those_of_tasks_by_layer_and_over_layers() -> None:
    held = numbers()
    found = of_rule(held, 0)
    for name, parts in held.items():
        for what, samples in parts.items():
            by_layer, mean = (found[own].sel(between=what) for own in (name, f"{name}_mean"))
            assert by_layer.axes == ("layer",)
            expected = [sum(samples[task, layer] for task in range(N)) / N for layer in range(3)]
            np.testing.assert_allclose(by_layer.values, expected, rtol=1e-12)
            assert mean.estimate == pytest.approx(sum(expected) / 3, rel=1e-12)
            assert list(map(float, mean.interval)) == pytest.approx(ends(bootstrap_means(samples.mean(axis=1), 0)))
            assert (mean.replicate, mean.n, mean.message) == ("task", N, "")


def test_gaps_are_formed_in_each_task() -> None:
    held = numbers()
    found, contrast = of_rule(held, 0), held["contrast"]
    for name, samples, said in (
        ("contrast_above_floor", (contrast["in context"] - contrast["other"]).mean(axis=1), "floor: other"),
        ("planted_above_floor", (contrast["adam"] - contrast["other"]).mean(axis=1), "planted: adam; floor: other"),
        ("first_layer_against_planted", (contrast["in context"] - contrast["adam"])[:, 0], "layer 0, planted: adam"),
    ):
        assert found[name].estimate == pytest.approx(samples.mean(), rel=1e-12)
        assert list(map(float, found[name].interval)) == pytest.approx(ends(bootstrap_means(samples, 0)))
        assert found[name].message == said
    share = found["first_layer_share"]
    assert share.estimate == pytest.approx(contrast["in context"][:, 0].mean() / contrast["adam"][:, 0].mean())
    assert share.interval[0] < share.estimate < share.interval[1]
    margin = (held["output_similarity"]["tuned"] - held["output_similarity"]["shuffled"]).mean(axis=1)
    assert found["output_similarity_margin"].estimate == pytest.approx(margin.mean())
    assert found["output_similarity_margin"].message == "strongest control: shuffled"


def test_the_strongest_floor_and_the_weakest_planted_descent_are_compared() -> None:
    found = of_rule(numbers(contrast={"random weights": 0.2, "third rate": 0.3}), 0)
    assert found["contrast_above_floor"].message == "floor: random weights"
    assert found["planted_above_floor"].message == "planted: third rate; floor: random weights"
    assert found["first_layer_against_planted"].message == "layer 0, planted: third rate"


def test_what_is_common_to_tasks_leaves_gaps_as_they_are() -> None:
    """Pairs: tasks that are easy for all move no difference, and make no interval wider."""
    held, shift = numbers(), np.linspace(-5, 5, N)[:, None]
    moved = {name: {what: own + shift for what, own in parts.items()} for name, parts in held.items()}
    for name in ("contrast_above_floor", "planted_above_floor", "first_layer_against_planted"):
        one, other = (of_rule(some, 0)[name] for some in (held, moved))
        assert list(map(float, other.interval)) == pytest.approx(list(map(float, one.interval)), abs=1e-9)


def test_layers_without_numbers_are_left_out_and_then_tasks() -> None:
    held = numbers()
    held["contrast"]["in context"][:, 0] = np.nan
    held["contrast"]["other"][4, 2] = np.nan
    found = of_rule(held, 0)
    kept = [task for task in range(N) if task != 4]
    said = "no number in layer 0; of 29 of 30 tasks: other labels move attention by no more than rounding there"
    mean = found["contrast_mean"].sel(between="third rate")
    assert mean.estimate == pytest.approx(held["contrast"]["third rate"][kept][:, 1:].mean(), rel=1e-12)
    assert (mean.n, mean.message) == (29, said)
    by_layer = found["contrast"].sel(between="in context")
    assert np.isnan(by_layer.values).tolist() == [True, False, False]
    assert said in by_layer.message
    first = held["contrast"]["in context"][kept, 1] - held["contrast"]["adam"][kept, 1]
    against = found["first_layer_against_planted"]
    assert against.estimate == pytest.approx(first.mean(), rel=1e-12)
    assert against.message == f"layer 1, planted: adam; {said}"
    assert found["output_similarity_mean"].sel(between="tuned").n == N


def test_what_does_not_exist_says_so() -> None:
    held = numbers()
    held["score_similarity"] = {what: np.full((N, 3), np.nan) for what in ("tuned", "other")}
    held["score_shift_similarity"] = held["activation_distance"] = {}
    held["contrast"] = {what: np.full((N, 3), np.nan) for what in held["contrast"]}
    held["output_similarity"]["shuffled"][:] = np.nan
    found = of_rule(held, 0)
    for name, status, said in (
        ("score_similarity", "undefined", "it needs three tokens of a query's own"),
        ("score_shift_similarity_mean", "not applicable", "the model does not show attention scores"),
        ("activation_distance", "not applicable", "nothing was fitted to attention"),
        ("contrast", "undefined", "no task has a number: other labels move attention by no more than rounding"),
        ("contrast_above_floor", "undefined", "no task has a number"),
        ("first_layer_share", "undefined", "no task has a number"),
    ):
        assert found[name].status == status
        assert said in found[name].message
        assert not found[name].has_number
    shuffled, tuned = (found["output_similarity_mean"].sel(between=what) for what in ("shuffled", "tuned"))
    assert (shuffled.status, tuned.status) == ("undefined", "ok")
    assert found["output_similarity_margin"].message == "strongest control: other"


def test_there_is_no_share_of_nothing() -> None:
    found = of_rule(numbers(contrast={"adam": 0.0, "third rate": 0.0}), 0)["first_layer_share"]
    assert found.status == "undefined"
    assert "planted gradient descent is not above 0" in found.message


def test_one_task_has_numbers_without_intervals() -> None:
    held = {name: {what: own[:1] for what, own in parts.items()} for name, parts in numbers().items()}
    for name, measure in flat(inside_measures({"gd": held}, 0)).items():
        assert np.isfinite(measure.values).all(), name
        assert np.isnan(measure.interval[0]).all(), name
        assert "one task" in measure.message, name


def test_rules_stand_beside_each_other() -> None:
    found = inside_measures({"gd": numbers(), "lcgd": numbers(1)}, 0)
    assert found["contrast"].axes == ("rule", "between", "layer")
    for rule, seed in (("gd", 0), ("lcgd", 1)):
        alone = of_rule(numbers(seed), 0)
        for name, measure in found.items():
            np.testing.assert_array_equal(measure.sel(rule=rule).values, alone[name].values)


def test_nothing_known_is_none() -> None:
    assert Known.of("contrast", {"other": np.full((3, 2), np.nan)}) is None
    assert Known.of("contrast", {}) is None
    crossed = {"a": np.array([[1.0, np.nan], [np.nan, 1.0]])}  # each task lacks one layer
    assert Known.of("contrast", crossed) is None
