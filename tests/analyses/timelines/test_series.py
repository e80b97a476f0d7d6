"""Points of trainings become curves: by architecture, probe and training; copies and failures are marked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from mesascope.analyses.timelines.points import Point, Read, model_of, points_in, read
from mesascope.analyses.timelines.series import groups_of, label_of, series_of, trainings_of
from mesascope.data.errors import UsageError

from .made_up import STEPS, MadeUp, number, rising


def group_of(points: list[Point]) -> list[Read]:
    (group,) = groups_of(read(points))
    return group


def test_curves_of_each_probe_and_training(made_up: MadeUp) -> None:
    points = [p for seed in (0, 1) for p in made_up.training("alpha", rising(50), seed=seed)]
    points += made_up.training("beta", [1 - value for value in rising(100)], null=0.5)
    points += made_up.training("gamma", rising(10))  # follows nothing
    group = group_of(points)
    assert label_of(group) == "toy"
    score, attention, loss = series_of(group)
    assert [one.name for one in (score, attention, loss)] == ["alpha: the score", "alpha: attention", "beta: the loss"]
    assert list(score.courses) == ["seed 0", "seed 1"]
    assert list(loss.courses) == ["seed 0"]
    course = score.courses["seed 1"]
    assert course.steps == STEPS
    np.testing.assert_array_equal(course.estimate, rising(50))
    np.testing.assert_array_equal(course.null, [0.3] * len(STEPS))
    assert {one.place for one in attention.courses.values()} == {"head L0H1"}
    np.testing.assert_array_equal(loss.courses["seed 0"].null, [0.25] * len(STEPS))  # it falls: the smallest sample
    assert (score.unit, loss.unit) == ("nat", "nat")


def test_the_order_of_points_does_not_matter(made_up: MadeUp) -> None:
    points = [p for seed in (1, 0, 10, 2) for p in made_up.training("alpha", rising(50), seed=seed)]
    one, other = series_of(group_of(points)), series_of(group_of(points[::-1]))
    assert list(one[0].courses) == list(other[0].courses) == ["seed 0", "seed 1", "seed 2", "seed 10"]
    for name, course in one[0].courses.items():
        np.testing.assert_array_equal(course.estimate, other[0].courses[name].estimate)


def test_architectures_are_apart_and_models_of_one_are_together(made_up: MadeUp) -> None:
    small = made_up.training("alpha", rising(50), name="one") + made_up.training("alpha", rising(50), name="two")
    made_up.facts = {"n_layers": 2}
    large = made_up.training("alpha", rising(50), name="large")
    groups = groups_of(read([*small, *large]))
    assert sorted(map(label_of, groups)) == ["large", "one+two"]
    assert list(trainings_of(max(groups, key=len)).values()) == ["one seed 0", "two seed 0"]


def test_models_without_seeds_go_by_their_names(made_up: MadeUp) -> None:
    points = [p for name in ("a/one", "a/two") for p in made_up.training("alpha", rising(50), name=name, seed=None)]
    assert list(series_of(group_of(points))[0].courses) == ["a/one", "a/two"]
    assert list(trainings_of(read(points[:3])).values()) == ["a/one"]


def test_copies_of_another_step_are_marked(made_up: MadeUp) -> None:
    score = {"score": number(1.0, 0.3)}
    points = [made_up.report("alpha", step, score, weights=digest * 64) for step, digest in ((0, "a"), (5, "b"))]
    points.append(made_up.report("alpha", 9, score, weights="a" * 64))
    points.append(made_up.report("alpha", 9, score, seed=1, weights="c" * 64))
    points.append(made_up.report("alpha", 0, score, seed=1, weights="a" * 64))
    courses = series_of(group_of(points))[0].courses
    np.testing.assert_array_equal(courses["seed 0"].copied, [False, False, True])
    assert courses["seed 0"].why == ("", "", "the same weights as step 0")
    assert courses["seed 1"].why == ("the same weights as seed 0, step 0", "")
    np.testing.assert_array_equal(courses["seed 0"].measured, [True, True, False])


def test_what_failed_or_is_missing_has_its_step_and_its_reason(made_up: MadeUp) -> None:
    points = made_up.training("alpha", [0, None, *rising(50)[2:]])
    gone = Point("alpha", "toy", 0, 30, why="killed by signal 9", failed=True)
    points += [gone, replace(gone, step=40, why="not measured yet", failed=False), replace(gone, model="other")]
    score, _ = series_of(group_of(points))
    course = score.courses["seed 0"]
    reasons = dict(zip(course.steps, course.why, strict=True))
    assert (reasons[10], reasons[30], reasons[40]) == ("nothing to divide by", "killed by signal 9", "not measured yet")
    assert [step for step, failed in zip(course.steps, course.failed, strict=True) if failed] == [30]
    assert list(score.courses) == ["seed 0"]  # of the other model nothing is known


def test_a_probe_that_was_asked_in_two_ways_has_two_series(made_up: MadeUp) -> None:
    points = made_up.training("beta", rising(50)) + made_up.training("beta", rising(100), settings={"n": 16})
    points.append(Point("beta", "toy", 0, 30, why="killed", failed=True))
    one, other = series_of(group_of(points))
    assert [one.name, other.name] == ["beta (n 8): the loss", "beta (n 16): the loss"]
    assert 30 in one.courses["seed 0"].steps
    assert 30 in other.courses["seed 0"].steps


def test_two_reports_of_one_step_are_refused(made_up: MadeUp) -> None:
    points = made_up.training("beta", rising(50)) + made_up.training("beta", rising(50)[:1], steps=STEPS[:1])
    with pytest.raises(UsageError, match="both hold beta at seed 0, step 0; expected one report"):
        series_of(group_of(points))
    failed_once = Point("beta", "toy", 0, 0, why="killed", failed=True)
    for both in ([*points[:-1], failed_once], [failed_once, *points[:-1]]):
        assert series_of(group_of(both))[0].courses["seed 0"].why[0] == ""  # the report counts


def test_reports_of_single_checkpoints_are_found_in_a_folder(made_up: MadeUp) -> None:
    points = made_up.training("alpha", rising(50)) + made_up.training("beta", rising(50), seed=3)
    over = replace(made_up.like, sources=made_up.like.sources * 2, key="f" * 16)
    made_up.write(over)
    made_up.write(made_up.like)  # its step is not known
    found = points_in(made_up.out)
    assert sorted(found, key=str) == sorted(points, key=str)
    with pytest.raises(UsageError, match="no reports of checkpoints whose step is known; expected a folder that"):
        points_in(made_up.out / "built")


def test_stages_are_trainings_of_their_own() -> None:
    assert model_of("a/b", "step1000", None) == "a/b"
    assert model_of("a/b", "stage1-step1000-tokens5B", None) == "a/b stage1"
    assert model_of("a/b", "stage2-ingredient1-step1000", None) == "a/b stage2-ingredient1"
    assert model_of("toy", "seed0-step500", 0) == "toy"
    assert model_of("a/b", "main", None) == "a/b"
    assert model_of("a/b", None, None) == "a/b"
