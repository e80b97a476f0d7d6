"""What is followed along a training, and its course over steps."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from mesascope.analyses.reports.parts import part
from mesascope.probes import PROBES
from mesascope.probes.followed import Course, Followed, Step, course_of
from mesascope.probes.induction_heads.probe import InductionHeads
from mesascope.probes.measure import Measure, along, missing

SCORE = Followed("score", "the score")


def score(value: Any, nulls: dict[str, list[float]] | None = None, axes: tuple[str, ...] = (), **more: Any) -> Measure:
    values = np.asarray(value, dtype=np.float64)
    made = {name: np.broadcast_to(np.array(n).reshape(-1, *[1] * values.ndim), (len(n), *values.shape))
            for name, n in (nulls or {}).items()}  # fmt: skip
    fields: dict[str, Any] = {"nulls": made, "no_nulls": "" if made else "none", "message": "no number"}
    interval = np.asarray(values - 0.1), np.asarray(values + 0.1)
    return Measure(
        values, **({"unit": "nat", "interval": interval, "replicate": "task", "n": 9, "axes": axes} | fields | more)
    )


def course(followed: Followed, *measures: Measure | None) -> Course:
    steps = {10 * at: Step(None if one is None else {"score": one}) for at, one in enumerate(measures)}
    return course_of(followed, steps)


def test_a_course_has_the_numbers_their_intervals_and_the_farthest_sample_of_the_nulls() -> None:
    found = course(SCORE, score(1.0, {"a": [0.1, 0.4], "b": [0.2]}), score(2.0, {"a": [0.3]}))
    assert found.steps == (0, 10)
    np.testing.assert_allclose(found.estimate, [1, 2])
    np.testing.assert_allclose(found.low, [0.9, 1.9])
    np.testing.assert_allclose(found.high, [1.1, 2.1])
    np.testing.assert_allclose(found.null, [0.4, 0.3])
    assert found.measured.all()
    assert (found.unit, found.place, found.why) == ("nat", "", ("", ""))
    falls = course(Followed("score", "the score", above=False), score(1.0, {"a": [0.1, 0.4], "b": [0.2]}))
    np.testing.assert_allclose(falls.null, [0.1])


def test_some_nulls_or_a_constant_instead() -> None:
    measure = score(1.0, {"a": [0.1, 0.4], "b": [0.2, np.nan]})
    assert course(Followed("score", "", nulls=("b",)), measure).null.item() == 0.2
    assert course(Followed("score", "", against=0.0), measure).null.item() == 0
    assert course(Followed("score", "", against=0.5), score(1.0)).null.item() == 0.5
    for least, expected in ((0.1, 0.2), (0.3, 0.3)):  # beside a null that is named the farther counts
        assert course(Followed("score", "", nulls=("b",), against=least), measure).null.item() == expected
        falls = Followed("score", "", nulls=("b",), against=least, above=False)
        assert course(falls, measure).null.item() == min(0.2, least)
    assert np.isnan(course(Followed("score", "", nulls=("c",), against=0.1), measure).null.item())
    without = course(SCORE, score(1.0))
    assert np.isnan(without.null.item())
    assert without.why == ("its null has no sample",)


def test_the_order_in_which_steps_come_does_not_matter() -> None:
    steps = {step: Step({"score": score(step, {"a": [0.0]})}) for step in (0, 5, 100)}
    one, other = course_of(SCORE, steps), course_of(SCORE, dict(reversed(steps.items())))
    assert one.steps == other.steps == (0, 5, 100)
    np.testing.assert_array_equal(one.estimate, other.estimate)


def test_the_head_is_that_of_the_last_step() -> None:
    """At the first step another one is the largest."""
    axes = ("layer", "head")
    first, last = np.array([[0.9, 0.1], [0.2, 0.3]]), np.array([[0.5, 0.2], [np.nan, 0.8]])
    found = course(SCORE, score(first, {"a": [0.0]}, axes), score(last, {"a": [0.1]}, axes))
    assert found.place == "head L1H1"
    np.testing.assert_allclose(found.estimate, [0.3, 0.8])
    falls = course(
        Followed("score", "", above=False), score(first, {"a": [0.0]}, axes), score(last, {"a": [0.1]}, axes)
    )
    assert falls.place == "head L0H1"
    np.testing.assert_allclose(falls.estimate, [0.1, 0.2])
    no_more = course(SCORE, score(first, {"a": [0.0]}, axes), None)
    assert no_more.place == "head L0H0"  # of the last step that has a number


def test_one_layer_is_no_choice_and_several_are_named() -> None:
    assert course(SCORE, score([1.0], {"a": [0.0]}, ("layer",))).place == ""
    assert course(SCORE, score([1.0, 3.0, 2.0], {"a": [0.0]}, ("layer",))).place == "layer 1"


def test_labels_are_selected() -> None:
    both = along("candidate", {"gd": score(1.0, {"a": [0.0]}), "zero": score(5.0, {"a": [2.0]})})
    found = course(Followed("score", "", {"candidate": "zero"}), both)
    assert (found.estimate.item(), found.null.item()) == (5, 2)
    unknown = course(Followed("score", "", {"candidate": "ridge"}), both)
    assert not unknown.measured.any()
    assert "ridge" in unknown.why[0]


def test_what_has_no_number_says_why() -> None:
    found = course(
        SCORE,
        None,
        missing("nat", "not applicable", "too few tasks"),
        score(1.0, {"a": [0.0]}),
        score([1.0, 2.0], {"a": [0.0]}, ("layer",)),
        score(1.0, {"a": [0.0]}, interval=(np.array(np.nan), np.array(np.nan))),
    )
    assert found.why[:3] == ("no report", "too few tasks", "")
    assert found.why[3] == "its axes differ from those of the last step"
    assert found.why[4] == "it has no interval"
    np.testing.assert_array_equal(np.isfinite(found.low), [False, False, True, False, False])
    failed = course_of(SCORE, {0: Step(None, "killed by signal 9", failed=True), 5: Step({}, "")})
    assert failed.why == ("killed by signal 9", "the report has no score")
    np.testing.assert_array_equal(failed.failed, [True, False])


def test_a_function_of_the_weights_is_its_own_interval() -> None:
    nothing = (np.array(np.nan), np.array(np.nan))
    found = course(SCORE, score(1.0, {"a": [0.0]}, interval=nothing, replicate="none"))
    assert (found.low.item(), found.high.item(), found.why) == (1.0, 1.0, ("",))


def test_a_copy_is_no_measurement_of_its_step() -> None:
    measures = {"score": score(1.0, {"a": [0.0]})}
    found = course_of(SCORE, {0: Step(measures), 5: Step(measures, "the same weights as step 0", copied=True)})
    np.testing.assert_array_equal(found.measured, [True, False])
    assert found.estimate[1] == 1
    assert found.why == ("", "the same weights as step 0")


@pytest.mark.parametrize("probe", sorted(PROBES))
def test_every_probe_follows_few_measures_that_it_defines(probe: str) -> None:
    followed = part(probe, "followed").FOLLOWED
    defined = part(probe, "definitions").DEFINITIONS
    assert 1 <= len(followed) <= 3
    assert {one.measure for one in followed} <= set(defined)
    assert len({one.words for one in followed}) == len(followed)


def test_the_threshold_of_a_match_is_that_of_the_probe() -> None:
    assert {one.against for one in part("induction-heads", "followed").FOLLOWED} == {
        None,
        InductionHeads().matching_threshold,
    }
