"""What several runs show, on runs whose accuracies and attention are written down."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import chain

import numpy as np
import pytest
from mesascope.probes.attention_learning.agreement import agreement
from mesascope.probes.attention_learning.names import OUTCOMES
from mesascope.probes.attention_learning.run_measures import crossing_measures, outcome_measures, similarity_measures
from mesascope.probes.attention_learning.training_runs import Run, runs_of
from mesascope.probes.measure import Measure
from mesascope.probes.probe import Checkpoint
from scipy import stats

from .planted_copies import agreed, made_up

STEPS = (0, 20, 40, 60)


def run(seed: int, ktiw: int | None, attention: int | None, steps: Sequence[int] = STEPS) -> list[Checkpoint]:
    """A seed whose accuracies jump from .1 to .5 at these steps; its task follows attention."""

    def at(step: int, crossed: int | None) -> float:
        return 0.5 if crossed is not None and step >= crossed else 0.1

    return [made_up(seed, step, at(step, ktiw), at(step, attention), at(step, attention)) for step in steps]


def crossings(*runs: list[Checkpoint]) -> dict[str, Measure]:
    return crossing_measures(runs_of(list(chain(*runs))))


def clopper_pearson(count: int, n: int) -> list[float]:
    """By the quantiles of beta distributions."""
    low = 0.0 if count == 0 else stats.beta.ppf(0.025, count, n - count + 1)
    high = 1.0 if count == n else stats.beta.ppf(0.975, count + 1, n - count)
    return [low, high]


# -- crossings ---------------------------------------------------------------------------------------------------------


def test_first_crossings_of_one_seed() -> None:
    found = crossings(run(0, 20, 40))
    first, lead = found["first_crossing"], found["ktiw_lead"]
    assert first.coords == {"quantity": ("ktiw", "attention", "task")}
    assert first.values.tolist() == [20, 40, 40]
    assert (lead.estimate, lead.n, lead.replicate) == (20, 1, "seed")
    assert np.isnan(first.interval).all()
    assert "1 seed: a median has a 95% interval from 6 on" in lead.message
    assert found["crossing_order"].values.tolist() == [1, 0, 0, 0]


def test_several_seeds_have_medians_with_order_statistics() -> None:
    """Of six, the interval is from the smallest to the largest."""
    ktiw, attention = [0, 20, 20, 20, 40, 40], [20, 20, 40, 60, 60, 40]
    found = crossings(*(run(seed, *pair) for seed, pair in enumerate(zip(ktiw, attention, strict=True))))
    first, lead = found["first_crossing"], found["ktiw_lead"]
    assert first.points is not None
    np.testing.assert_array_equal(first.points[:, 0], ktiw)
    np.testing.assert_array_equal(first.points[:, 1], attention)
    np.testing.assert_array_equal(first.values, [20, 40, 40])
    np.testing.assert_array_equal(first.interval, [[0, 20, 20], [40, 60, 60]])
    leads = np.subtract(attention, ktiw)
    assert lead.points is not None
    np.testing.assert_array_equal(lead.points, leads)
    assert (lead.estimate, *lead.interval) == (np.median(leads), leads.min(), leads.max())
    assert found["crossing_order"].coords["order"] == ("ktiw first", "attention first", "same checkpoint", "neither")
    np.testing.assert_allclose(found["crossing_order"].values, [4 / 6, 0, 2 / 6, 0])
    expected = np.transpose([clopper_pearson(count, 6) for count in (4, 0, 2, 0)])
    np.testing.assert_allclose(found["crossing_order"].interval, expected)


def test_seeds_that_never_cross_are_counted_and_not_dropped() -> None:
    """Two of five never: the median is that of five, the third smallest."""
    found = crossings(*(run(seed, 20, crossed) for seed, crossed in enumerate([40, 40, 60, None, None])))
    first, lead = found["first_crossing"], found["ktiw_lead"]
    np.testing.assert_array_equal(first.values, [20, 60, 60])
    assert first.points is not None
    np.testing.assert_array_equal(first.points[:, 1], [40, 40, 60, np.nan, np.nan])
    assert "; attention: 2 of 5 seeds never do by their last step" in first.message
    assert first.message.count("never do") == 2  # attention and task
    assert (lead.estimate, lead.n) == (40, 5)
    assert found["crossing_order"].values.tolist() == [1, 0, 0, 0]


def test_a_median_that_those_leave_open() -> None:
    found = crossings(run(0, 20, 40), run(1, 20, None), run(2, 20, None))
    assert np.isnan(found["first_crossing"].values[1:]).all()
    assert "attention: the median is at least 60" in found["first_crossing"].message
    assert found["first_crossing"].status == "ok"  # that of KTIW is known
    assert (found["ktiw_lead"].status, found["ktiw_lead"].values.shape) == ("undefined", ())
    assert "the median is at least 40" in found["ktiw_lead"].message
    assert found["ktiw_lead"].points is not None
    np.testing.assert_array_equal(found["ktiw_lead"].points, [20, np.nan, np.nan])


def test_a_training_in_which_nothing_crosses() -> None:
    found = crossings(run(0, None, None), run(1, None, None))
    assert {found[name].status for name in ("first_crossing", "ktiw_lead")} == {"undefined"}
    assert found["crossing_order"].values.tolist() == [0, 0, 0, 1]


def test_a_seed_is_known_up_to_its_own_last_step() -> None:
    """One that stops at 20 may cross at 40: of the other's 60 steps it says nothing."""
    found = crossings(run(0, 0, None, (0, 20)))
    assert "attention: the median is at least 20" in found["first_crossing"].message
    found = crossings(run(0, 0, None, (0, 20)), run(1, 0, 60), run(2, 0, None, (0, 20)))
    assert "attention: the median is at least 20;" in found["first_crossing"].message
    assert "the median is at least 20;" in found["ktiw_lead"].message


def test_attention_first_has_a_negative_lead() -> None:
    found = crossings(run(0, 40, 20))
    assert found["ktiw_lead"].estimate == -20
    assert found["crossing_order"].values.tolist() == [0, 1, 0, 0]


# -- outcomes ----------------------------------------------------------------------------------------------------------

DONE = {"by attention": (1.0, 1.0, 1.0), "anti-attention": (0.0, 0.0, 1.0), "otherwise": (0.9, 0.2, 1.0),
        "not learned": (0.9, 0.9, 0.9)}  # fmt: skip
"""ktiw, attention, task"""


def ending(*outcomes: str, steps: Sequence[int] = (0, 50)) -> list[Run]:
    made = [
        made_up(seed, step, *(DONE[outcome] if step == steps[-1] else (0.0, 0.0, 0.0)))
        for seed, outcome in enumerate(outcomes)
        for step in steps
    ]
    return runs_of(made)


def test_outcomes_along_training() -> None:
    ends = ["by attention", "by attention", "anti-attention", "otherwise", "not learned"]
    found = outcome_measures(ending(*ends), 0.95)
    learned, outcome = found["learned"], found["outcome"]
    assert learned.axes == ("step",)
    assert learned.coords == {"step": (0, 50)}
    assert outcome.axes == ("step", "outcome")
    assert outcome.coords == {"step": (0, 50), "outcome": OUTCOMES}
    np.testing.assert_allclose(learned.values, [0, 0.8])
    np.testing.assert_allclose(np.transpose(learned.interval), [clopper_pearson(0, 5), clopper_pearson(4, 5)])
    np.testing.assert_allclose(outcome.values, [[0, 0, 0, 1], [0.4, 0.2, 0.2, 0.2]])
    expected = np.transpose([clopper_pearson(count, 5) for count in (2, 1, 1, 1)])
    np.testing.assert_allclose(np.array(outcome.interval)[:, 1], expected)
    assert (learned.n, learned.replicate) == (5, "seed")
    assert "task accuracy of at least 0.95" in learned.message


def test_outcomes_at_a_single_step_have_no_axis_for_it() -> None:
    found = outcome_measures(ending("by attention", "not learned", steps=(50,)), 0.95)
    assert (found["learned"].axes, found["learned"].estimate) == ((), 0.5)
    assert found["outcome"].axes == ("outcome",)
    assert found["outcome"].values.tolist() == [0.5, 0, 0, 0.5]


def test_what_has_learned_is_asked() -> None:
    runs = ending("not learned", "by attention")
    assert outcome_measures(runs, 0.9)["learned"].values.tolist() == [0, 1]
    assert outcome_measures(runs, 0.91)["learned"].values.tolist() == [0, 0.5]


def test_a_step_that_a_seed_lacks_is_a_share_of_the_others() -> None:
    runs = [*ending("by attention", "not learned"), *runs_of([made_up(7, 0)])]
    found = outcome_measures(runs, 0.95)["learned"]
    np.testing.assert_allclose(found.values, [0, 0.5])
    np.testing.assert_allclose(np.transpose(found.interval), [clopper_pearson(0, 3), clopper_pearson(1, 2)])


# -- xi ----------------------------------------------------------------------------------------------------------------


def attending(right: int) -> np.ndarray:
    """The first `right` of 20 targets attend to their own place, the others elsewhere."""
    attention = np.full((2, 20, 20), 0.01)
    for t in range(20):
        attention[:, t, t if t < right else (t + 10) % 20] = 0.9
    return attention


def along(
    seed: int, rights: Sequence[int], tasks: Sequence[float], uniform: float | None, beta: float
) -> list[Checkpoint]:
    agreement = agreed({"uniform": uniform, "beta": beta})
    return [
        made_up(seed, 20 * place, task=task, map_=attending(right), agreement=agreement)
        for place, (right, task) in enumerate(zip(rights, tasks, strict=True))
    ]


def similar(*runs: list[Checkpoint]) -> dict[str, Measure]:
    return similarity_measures(runs_of(list(chain(*runs))))


def test_xi_is_the_accuracy_of_other_runs_once_they_attend_alike() -> None:
    """Agreements with a finished run are 0, 1/4, 3/4 and 1 along the first, and 0, 3/4, 3/4 and 1 along the other."""
    one = along(0, (0, 5, 15, 20), (0.0, 0.1, 0.6, 0.95), 0.5, 0.8)
    other = along(1, (0, 15, 15, 20), (0.0, 0.3, 0.4, 0.99), 0.8, 0.9)
    found = similar(one, other)
    assert found["xi"].coords == {"pair": ("uniform", "beta")}
    # seed 0 finds .75 > .5 and 1 > .8 in seed 1; seed 1 finds 1 > .8 and 1 > .9 in seed 0
    assert found["xi"].points is not None
    np.testing.assert_allclose(found["xi"].points, [[0.3, 0.99], [0.95, 0.95]])
    np.testing.assert_allclose(found["xi"].values, [0.625, 0.97])
    expected = stats.ttest_1samp([0.3, 0.95], 0).confidence_interval()
    np.testing.assert_allclose([end[0] for end in found["xi"].interval], [expected.low, expected.high])
    assert (found["xi_star"].estimate, found["xi_star"].n) == (pytest.approx(0.97), 2)
    assert "known for uniform: of 2 of 2 seeds, beta: of 2 of 2 seeds" in found["xi"].message


def test_a_run_never_counts_among_its_others() -> None:
    """The finished run agrees with itself: only the other's accuracy may be read."""
    found = similar(along(0, (20,), (1.0,), 0.5, 0.5), along(1, (20,), (0.7,), 0.5, 0.5))
    assert found["xi"].points is not None
    assert found["xi"].points.tolist() == [[0.7, 0.7], [1.0, 1.0]]


def test_no_twin_and_no_run_that_attends_alike() -> None:
    found = similar(along(0, (0, 20), (0.0, 1.0), None, 0.5), along(1, (0, 15), (0.0, 1.0), None, 0.9))["xi"]
    assert np.isnan(found.values[0])
    # seed 1's last attention agrees with none of seed 0's by more than 0.9
    assert agreement(attending(15), attending(20)).mean() == 0.75
    assert found.values[1] == 1.0
    assert "uniform: of 0 of 2 seeds, beta: of 1 of 2 seeds" in found.message
    nobody = similar(along(0, (0,), (0.0,), None, 0.9), along(1, (20,), (0.0,), None, 0.9))
    assert (nobody["xi"].status, nobody["xi_star"].estimate) == ("undefined", 0.0)


def test_runs_of_different_shapes() -> None:
    other = [made_up(1, 0, map_=np.zeros((2, 12, 12)))]
    found = similar(along(0, (20,), (1.0,), 0.5, 0.5), other)
    assert list(found) == ["xi"]
    assert found["xi"].status == "not applicable"
    assert "different shapes" in found["xi"].message


def test_steps_out_of_order_give_the_same(checkpoints_of: Callable[..., list[Checkpoint]]) -> None:
    made = checkpoints_of("permutations")
    for measures_of in (crossing_measures, similarity_measures, lambda runs: outcome_measures(runs, 0.95)):
        one, other = measures_of(runs_of(made)), measures_of(sorted(runs_of(made[::-1]), key=lambda r: r.seed or 0))
        assert one.keys() == other.keys()
        for name, measure in one.items():
            np.testing.assert_array_equal(measure.values, other[name].values)
            np.testing.assert_array_equal(measure.interval, other[name].interval)
