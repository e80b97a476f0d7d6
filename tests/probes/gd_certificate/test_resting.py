"""Where training rests: planted trainings beside the closed form, over seeds, and every sentence where it is true."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from mesascope.analyses import run_family
from mesascope.models import load
from mesascope.models.opening.catalogue import read_header, shipped
from mesascope.models.subject import Source
from mesascope.probes.gd_certificate.optimum_measures import SEVERAL
from mesascope.probes.gd_certificate.over_checkpoints import DIRECTIONS, LEVELS, over_checkpoints
from mesascope.probes.gd_certificate.probe import GDCertificate
from mesascope.probes.gd_certificate.resting import CLOSE, DIFFERENT, NO_LAW, SINGLE
from mesascope.probes.gd_certificate.resting_measures import MOVED
from mesascope.probes.measure import Measure, missing, without_interval
from mesascope.probes.probe import Checkpoint, OverTraining

L = np.array([1.0, 0.64057971, 0.37737216, 0.20980460, 0.13599507])
STEPS = tuple(sorted({0, *(round(10 ** (k / 30)) for k in range(121))}))


def measured(value: Any, axes: tuple[str, ...] = ()) -> Measure:
    return without_interval(np.asarray(value), "loss", axes, message="planted", no_nulls="planted")


def training(levels: Sequence[float], seed: int | None = None, steps: Sequence[int] = STEPS, **source: Any):
    """Checkpoints of a training that rests at these losses, for half a decade each, and falls at once."""
    found = []
    for step in steps:
        place = min(int(max(np.log10(max(step, 1)) - 1, 0) / 0.5), len(levels) - 1)
        held = {"expected_loss": measured(levels[place] / 2), "level_loss": measured(L, ("level",))}
        where = {"step": step, "seed": seed, "facts": {"d_in": 4}} | source
        found.append(Checkpoint(Source(where.pop("name", "model"), layout="x", **where), held, {}, {}))
    return found


def with_measure(checkpoints: Sequence[Checkpoint], **changed: Measure) -> list[Checkpoint]:
    return [replace(one, measures={**one.measures, **changed}) for one in checkpoints]


def test_a_training_that_rests_at_every_level() -> None:
    found = over_checkpoints(training(1.004 * L))
    assert found.sentence == (
        "The expected loss rests at all 5 levels of a training that learns one direction after another (1, 0.641,"
        " 0.377, 0.21, 0.136), within 0.4 %."
    )
    assert found.limits == (DIRECTIONS,)
    losses, off = found.measures["plateau_loss"], found.measures["plateau_difference"]
    assert losses.axes == ("level",)
    np.testing.assert_allclose(losses.values, 1.004 * L)
    np.testing.assert_allclose(off.values, 0.004, rtol=1e-9)
    assert np.isnan(losses.interval[0]).all()
    assert "one training has no interval" in losses.message
    first, last = found.measures["plateau_steps"].values.T
    assert (np.log10(last / first)[1:4] > 0.4).all()
    np.testing.assert_allclose(found.measures["plateau_decades"].values, np.log10(last / first))
    assert found.measures["levels_reached"].estimate == 5


def test_time_near_a_level_stands_beside_that_near_the_middle_of_each_gap() -> None:
    near = over_checkpoints(training(L)).measures["level_decades"]
    assert (near.values > 0.4).all()
    moved = near.nulls[MOVED]
    assert moved.shape == (2, 5)
    assert np.isnan(moved).tolist() == [[True, *[False] * 4], [*[False] * 4, True]]
    np.testing.assert_allclose(moved[0, 1:], moved[1, :4])
    assert np.nanmax(moved) < 0.03
    between = over_checkpoints(training((1.0, (L[1] + L[2]) / 2, L[4]))).measures["level_decades"]
    assert between.nulls[MOVED][0, 2] > 0.4 > 0.03 > between.values[2]


def test_one_drop_is_told_as_one() -> None:
    found = over_checkpoints(training((L[0], L[4])))
    assert found.sentence == (
        "The expected loss falls in one drop: between its beginning and its end there is no plateau of 0.086 decades or"
        " more."
    )
    coarse = over_checkpoints(training((L[0], L[4]), steps=(0, 1, 2, 4, 8, 16, 64, 256, 1024)))
    assert "in one drop, as far as these steps tell: between its beginning and its end there" in coarse.sentence
    assert found.limits[0] == LEVELS
    assert "they are up to 0.043 decades apart" in found.limits[1]
    assert found.measures["levels_reached"].estimate == 2
    assert np.isnan(found.measures["plateau_loss"].values).tolist() == [False, True, True, True, False]
    assert "level 2: a plateau in 0 of 1 trainings" in found.measures["plateau_loss"].message


def test_some_levels_are_named() -> None:
    found = over_checkpoints(training((L[0], L[2], L[4])))
    assert found.sentence == (
        "The expected loss rests at 3 of the 5 levels of a training that learns one direction after another (1,"
        " 0.377, 0.136)."
    )
    assert found.limits[:2] == (DIRECTIONS, LEVELS)


def test_rests_at_no_level_are_told_as_such() -> None:
    found = over_checkpoints(training((L[0], 0.5, 1.05 * L[3], L[4])))
    assert found.sentence == (
        "The expected loss rests in between, at 0.22 to 0.5, and at none of the levels of a training that learns one"
        " direction after another."
    )
    assert DIRECTIONS not in found.limits
    assert found.measures["levels_reached"].estimate == 2
    assert found.measures["plateau_difference"].values[3] == pytest.approx(0.05)


def test_of_two_plateaus_near_a_level_the_longer_one_counts() -> None:
    off = 0.9 * L[1]
    for levels, difference in (((1, L[1], off, off, L[4]), -0.1), ((1, L[1], L[1], off, L[4]), 0.0)):
        found = over_checkpoints(training(levels))
        assert found.measures["plateau_difference"].values[1] == pytest.approx(difference, abs=1e-9)


@pytest.mark.parametrize(("off", "rests"), [(0.019, 5), (0.021, 4), (-0.019, 5), (-0.021, 4)])
def test_two_percent_decide(off: float, rests: int) -> None:
    levels = L * [1, 1, 1 + off, 1, 1]
    assert over_checkpoints(training(levels)).measures["levels_reached"].estimate == rests


def test_seeds_are_counted_by_what_they_do_and_averaged() -> None:
    runs = [*training(L, 0), *training(1.01 * L, 1), *training((L[0], L[4]), 2), *training((1.0, L[3], L[4]), 3)]
    found = over_checkpoints(runs)
    assert found.sentence.split("In ")[1:] == [
        "2 of 4 seeds the expected loss rests at all 5 levels of a training that learns one direction after another"
        " (1, 0.641, 0.377, 0.21, 0.136), within 1 %. ",
        "1 of 4 seeds the expected loss rests at 3 of the 5 levels of a training that learns one direction after"
        " another (1, 0.21, 0.136). ",
        "1 of 4 seeds the expected loss falls in one drop: between its beginning and its end there is no plateau of"
        " 0.086 decades or more.",
    ]
    losses = found.measures["plateau_loss"]
    assert (losses.replicate, losses.n, losses.points.shape) == ("seed", 4, (4, 5))
    np.testing.assert_allclose(losses.values[1], 1.005 * L[1])
    half = 12.706 * 0.01 * L[1] / 2  # t of one degree of freedom, times the standard error of two numbers
    np.testing.assert_allclose(losses.interval[1][1] - losses.values[1], half, rtol=1e-3)
    assert "level 1: a plateau in 2 of 4 trainings; level 2: a plateau in 2 of 4 trainings; level 3:" in losses.message
    assert found.measures["level_decades"].nulls[MOVED].shape == (8, 5)
    np.testing.assert_array_equal(found.measures["levels_reached"].points, [5, 5, 2, 3])
    assert found.measures["plateau_steps"].points.shape == (4, 5, 2)


def test_the_order_of_checkpoints_does_not_matter() -> None:
    runs = [*training(L, 0), *training(1.01 * L, 1)]
    mixed = [runs[i] for i in np.random.default_rng(0).permutation(len(runs))]
    one, other = over_checkpoints(runs), over_checkpoints(mixed)
    assert one.sentence == other.sentence
    np.testing.assert_allclose(one.measures["plateau_loss"].values, other.measures["plateau_loss"].values)


LAWLESS = missing("squared label", "not applicable", SEVERAL)
UNTELLABLE: dict[str, tuple[Callable[[], list[Checkpoint]], str]] = {
    "few steps": (lambda: training(L, steps=(0, 100, 1000, 5000)), "3 steps after step 0"),
    "no law": (lambda: with_measure(training(L), level_loss=LAWLESS), SEVERAL),
    "another law": (lambda: with_measure(training(L)[:9], level_loss=measured(2 * L, ("level",))) + training(L)[9:],
                    DIFFERENT),
    "twice a step": (lambda: training(L) + training(L), DIFFERENT),
    "two names": (lambda: training(L, 0) + training(L, 1, name="other"), DIFFERENT),
    "no steps": (lambda: [*training(L), training(L, step=None)[0]], DIFFERENT),
    "one direction": (lambda: with_measure(training(L), level_loss=measured([1.0, 0.5], ("level",))), SINGLE),
    "close levels": (lambda: with_measure(training(L), level_loss=measured([1, 0.5, 0.49], ("level",))), CLOSE),
    "rising": (lambda: training(L[::-1]), "the loss does not fall"),
}  # fmt: skip


@pytest.mark.parametrize(("checkpoints", "why"), UNTELLABLE.values(), ids=UNTELLABLE)
def test_what_cannot_be_told_has_a_reason_and_no_sentence(
    checkpoints: Callable[[], list[Checkpoint]], why: str
) -> None:
    found = over_checkpoints(checkpoints())
    assert found.sentence == ""
    assert found.limits == ()
    assert {measure.status for measure in found.measures.values()} == {"not applicable"}
    assert all(why in measure.message for measure in found.measures.values())


def test_an_older_report_without_levels() -> None:
    old = [replace(one, measures={"expected_loss": one.measures["expected_loss"]}) for one in training(L)]
    assert over_checkpoints(old).measures["plateau_loss"].message == NO_LAW


def test_seeds_of_one_step_have_no_plateaus() -> None:
    seeds = [training(L, seed, steps=(100,))[0] for seed in range(3)]
    assert over_checkpoints(seeds) == OverTraining()
    assert GDCertificate().over_checkpoints(tuple(seeds)) == OverTraining()


def test_the_shipped_layer_falls_in_one_drop() -> None:
    """One head with query and key as wide as a token, and inputs whose directions are all alike."""
    header = read_header(shipped()["lsa-1layer"])
    names = [member.revision for member in header.members if member.seed == 1]
    answer = run_family([load("lsa-1layer", revision=name) for name in names], GDCertificate())
    assert isinstance(answer, tuple)
    report = answer[1]
    assert (
        "falls in one drop, as far as these steps tell: between its beginning and its end there is no plateau of"
        in report.claim.found
    )
    assert "rests" not in report.claim.found
    levels = report.measures["level_loss"].values[-1]
    assert len(levels) == 11
    np.testing.assert_allclose(levels[[0, -1]], 2 * np.array([0.41667, 0.20623]), atol=2e-5)
    np.testing.assert_allclose(report.measures["plateau_loss"].values[-1], levels[-1], rtol=0.02)
