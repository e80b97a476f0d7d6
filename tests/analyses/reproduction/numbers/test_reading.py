"""Statistics from saved reports: which number, over which seeds, and why there is none."""

from __future__ import annotations

import numpy as np
import pytest
from mesascope.analyses.reproduction.judging import Statistic
from mesascope.analyses.reproduction.numbers.reading import (
    Lacking,
    at_last_step,
    collected,
    courses,
    geometric,
    loss_gap,
    per_seed,
    statistic,
)
from mesascope.probes.measure import missing

from .made_up import LAST, STEPS, by, family, number, report

REPORT = family(
    lambda seed, step: {
        "loss": by("candidate", model=1 + seed + step, gd=2.0),
        "kind": number([seed, 10 * step], ("layer",)),
    }
)


def test_each_seed_has_its_own_value_at_the_last_step() -> None:
    np.testing.assert_array_equal(per_seed(REPORT, "loss", candidate="model"), [201, 202, 203])
    np.testing.assert_array_equal(per_seed(REPORT, "kind"), [[0, 2000], [1, 2000], [2, 2000]])
    np.testing.assert_array_equal(per_seed(REPORT, "kind", layer=0), [0, 1, 2])


def test_what_is_the_same_for_every_seed_counts_once_and_stands_beside_each() -> None:
    np.testing.assert_array_equal(per_seed(REPORT, "loss", candidate="gd"), [2.0])
    np.testing.assert_allclose(loss_gap(REPORT, "gd"), [199 / 2, 200 / 2, 201 / 2])


def test_one_checkpoint_is_one_seed() -> None:
    alone = family(lambda seed, step: {"loss": by("candidate", model=3.0, gd=2.0)}, seeds=(4,), steps=(LAST,))
    assert statistic(loss_gap(alone, "gd")) == Statistic.of_one(0.5)


def test_courses_have_a_row_for_each_seed() -> None:
    steps, values = courses(REPORT, "loss", candidate="model")
    assert steps == STEPS
    np.testing.assert_array_equal(values, [[1, 101, 201], [2, 102, 202], [3, 103, 203]])


@pytest.mark.parametrize(
    ("name", "labels", "why"),
    [
        ("cosine", {}, "made-up 1 measured no cosine"),
        ("loss", {"candidate": "twin"}, "loss: candidate 'twin' is not there; it has model, gd"),
        ("none", {}, "none: this model has no MLP"),
    ],
)
def test_a_number_that_is_not_there_says_why(name: str, labels: dict[str, str], why: str) -> None:
    held = report({**REPORT.measures, "none": missing("loss", "not applicable", "this model has no MLP")})
    with pytest.raises(Lacking, match=why):
        at_last_step(held, name, **labels)


def test_a_number_that_the_last_step_lacks_is_not_taken_from_another() -> None:
    def loss(seed: int, step: int) -> dict:
        return {"loss": missing("loss", "undefined", "overflow") if step == LAST else number(1.0)}

    with pytest.raises(Lacking, match=r"loss: it has no number at the last step: .*overflow"):
        per_seed(family(loss), "loss")


def test_one_step_is_no_course() -> None:
    with pytest.raises(Lacking, match="loss was measured at one step alone"):
        courses(family(lambda seed, step: {"loss": number(seed)}, steps=(LAST,)), "loss")


def test_a_step_at_which_all_seeds_are_alike_is_in_every_course() -> None:
    """A model that begins at 0 has the same loss for every seed then."""
    report = family(lambda seed, step: {"loss": number(7.0 if step == 0 else 10 * seed + step)})
    steps, values = courses(report, "loss")
    assert steps == STEPS
    np.testing.assert_array_equal(values, [[7, 100, 200], [7, 110, 210], [7, 120, 220]])


def test_a_course_has_a_gap_where_its_seed_has_no_number() -> None:
    def loss(seed: int, step: int) -> dict:
        return {"loss": number(np.nan if (seed, step) == (1, 100) else 10.0 * seed + step)}

    _, values = courses(family(loss), "loss")
    np.testing.assert_array_equal(values, [[0, 100, 200], [10, np.nan, 210], [20, 120, 220]])


def test_a_seed_without_a_number_leaves_no_mean_of_the_others() -> None:
    with pytest.raises(Lacking, match="1 of 3 seeds have no number"):
        statistic(np.array([1.0, np.nan, 2.0]))


def test_the_geometric_mean_keeps_ratios_of_all_sizes_above_0() -> None:
    found = geometric(np.array([1e2, 1e4, 1e6]))
    half = 4.302652729911275 * 2 / 3**0.5  # Student's t of 2 degrees of freedom; decades
    np.testing.assert_allclose(np.log10([found.value, found.low, found.high]), [4, 4 - half, 4 + half])


def test_statistics_are_collected_beside_what_is_lacking() -> None:
    def lacks() -> Statistic:
        raise Lacking("no MLP")

    found, lacking = collected({"a": lambda: np.array([2.0]), "b": lacks, "c": lambda: Statistic.of_none(3.0)})
    assert found == {"a": Statistic.of_one(2.0), "c": Statistic.of_none(3.0)}
    assert lacking == {"b": "no MLP"}
